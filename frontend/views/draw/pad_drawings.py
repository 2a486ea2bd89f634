"""The drawings of one pad: their outcomes and feedback, and when they are stored in the history.

Strokes are classified without storing them. A drawing is stored once, when it is finished: a few
seconds after the last stroke, when the pad is cleared, when the user leaves the page, or before the
first feedback.
"""

from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Final

import streamlit as st

from client import BackendError, Client, ClientError
from frontend.datasets.selections import ImageSelection, SelectionStore
from frontend.service import predictions
from frontend.service.predictions import ImageFile, Outcome, PredictionCache, PredictionRequest
from frontend.state import url_state

DRAWINGS_PARAM = "drawings"  # in the URL
CACHE_SIZE: Final = 200  # drawings of one pad

_VISITED = "visited drawings"


@dataclass(frozen=True, slots=True)
class _Drawing:
    """A classified drawing. `shown_id` is the id of the classification that the page shows."""

    client: Client
    request: PredictionRequest
    image: ImageFile
    shown_id: str


class PadDrawings(ImageSelection):
    """The drawings of one pad.

    `has_history` is None until the first drawing is stored, and False without a history.
    """

    def __init__(self) -> None:
        super().__init__((), PredictionCache(CACHE_SIZE))
        self.has_history: bool | None = None
        self._drawing_id = ""
        self._shown: _Drawing | None = None
        self._stored_ids: dict[str, str] = {}  # ids in the history by the shown ids
        self._last_stored: _Drawing | None = None  # of the current drawing

    def begin(self, drawing_id: str) -> None:
        """Store the previous drawing if `drawing_id` is another one: the pad was cleared."""
        if drawing_id != self._drawing_id:
            self.finish()
            self._drawing_id, self._shown, self._last_stored = drawing_id, None, None

    def classify(
        self, client: Client, request: PredictionRequest, image: ImageFile | None
    ) -> Outcome | None:
        """Classify the current drawing without storing it; return None for an empty pad."""
        self._shown = None
        if image is None:
            return None
        unstored = replace(request, model_input=True, store=False)
        outcome = predictions.classify(client, unstored, [image], self.cache)[0]
        if not isinstance(outcome, ClientError):
            self._shown = _Drawing(client, request, image, outcome.id)
        return outcome

    def finish(self) -> None:
        """Store the current drawing if its request says so; the next call retries if this fails."""
        if self._shown is None or not self._shown.request.store:
            return
        with suppress(ClientError):
            self.store()

    def store(self) -> str:
        """Store the current drawing, unless it is stored already; return its id in the history.

        It replaces an earlier state of the same drawing, unless that has feedback. Raise
        ClientError if it cannot be stored, and for an empty pad.
        """
        if (shown := self._shown) is None:
            raise BackendError(status=404, code="unknown_answer")
        if stored_id := self._stored_ids.get(shown.shown_id):
            return stored_id
        if self.has_history is False:
            raise BackendError(status=404, code="history_off")
        request = replace(shown.request, model_input=False, store=True)
        outcome = predictions.classify(shown.client, request, [shown.image], PredictionCache(1))[0]
        if isinstance(outcome, ClientError):
            raise outcome
        self.has_history = outcome.stored is not None
        if not outcome.stored:
            code = "history_unavailable" if self.has_history else "history_off"
            raise BackendError(status=503, code=code)
        self._stored_ids[shown.shown_id] = outcome.id
        self._remove_replaced()
        self._last_stored = shown
        return outcome.id

    def _remove_replaced(self) -> None:
        replaced = self._last_stored
        if replaced is None or replaced.shown_id in self.corrections:
            return
        with suppress(ClientError):  # the frontend may have no access to the history
            replaced.client.history.delete(self._stored_ids.pop(replaced.shown_id))


def current() -> PadDrawings:
    """Return the drawings of this pad, which persist across a reload."""
    drawings = _store().find(url_state.get(DRAWINGS_PARAM))
    if not isinstance(drawings, PadDrawings):
        drawings = PadDrawings()
        _store().put(drawings)
        url_state.put(DRAWINGS_PARAM, drawings.token)
    st.session_state[_VISITED] = drawings
    return drawings


def leave() -> None:
    """Store the drawing of this session, if any, once after the user has left the Draw page."""
    drawings: PadDrawings | None = st.session_state.pop(_VISITED, None)
    if drawings is not None:
        drawings.finish()


@st.cache_resource(show_spinner=False)
def _store() -> SelectionStore[ImageSelection]:
    return SelectionStore()
