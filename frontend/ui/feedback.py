"""Saying that an answer is right, or what would be."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import streamlit as st

from client import Classification, Client, ClientError
from frontend.service import errors
from frontend.service.session import Service
from frontend.ui import alerts, formatting
from frontend.ui.formatting import plain

Corrections = dict[str, str]  # the right label by the answer's id

_NEWS = "correction made"


@dataclass(frozen=True, slots=True)
class Subject:
    """An answer that the backend keeps; `labels` are those to choose from."""

    client: Client
    answer_id: str
    prediction: str
    labels: Sequence[str]
    kind: str


def subject_of(service: Service, result: Classification) -> Subject | None:
    """Return what can be corrected of an answer, where the backend keeps it."""
    if not result.stored:
        return None
    model = service.model
    return Subject(service.client, result.id, result.prediction, model.labels, model.input.kind)


def show(
    subject: Subject, said: Corrections, key: str, also: Callable[[], None] | None = None
) -> None:
    """Offer to confirm or correct an answer that is kept; `said` remembers it.

    What is wrong with the history is told in words, and nothing else on the page is lost. `also`
    shows what else can be done, in the same row.
    """
    if st.session_state.pop(_NEWS, False):
        st.rerun()  # the rest of the page tells of corrections too
    key = f"{key} {subject.answer_id}"
    right = said.get(subject.answer_id)
    with st.container(horizontal=True, vertical_alignment="center"):
        if right is None:
            st.button(
                "It is right",
                icon=":material/check:",
                key=f"right {key}",
                on_click=_say,
                args=(subject, said, key, subject.prediction),
            )
        elif right == subject.prediction:
            _remark("Said to be right.")
        else:
            _remark(f"Said to be {formatting.noun(right, subject.kind)}.")
        st.button(
            "Wrong? Correct it" if right is None else "Change it",
            icon=":material/edit:",
            key=f"wrong {key}",
            on_click=_set_open,
            args=(key, True),
        )
        if right is not None:
            st.button(
                "Take it back",
                icon=":material/undo:",
                key=f"back {key}",
                on_click=_say,
                args=(subject, said, key, None),
            )
        if also is not None:
            also()
    if st.session_state.get(_open(key)):
        _offer_labels(subject, said, key)
    if isinstance(trouble := st.session_state.pop(_trouble(key), None), ClientError):
        alerts.show(errors.of_history(trouble), key=f"correcting {key}")


# For pages without a fragment of their own: within one, Streamlit keeps what an inner one has sent
# when the outer one is run again in the middle of a run, and the page breaks.
offer = st.fragment(show)


def tell() -> None:
    """Let the whole page know of a change that was made in the row of an answer."""
    st.session_state[_NEWS] = True


def _remark(text: str) -> None:
    st.markdown(f":material/check_circle: {plain(text)}", width="content")


def _offer_labels(subject: Subject, said: Corrections, key: str) -> None:
    right = st.selectbox(
        "The right label",
        subject.labels,
        index=None,
        placeholder="Choose a label",
        key=f"label {key}",
    )
    with st.container(horizontal=True):
        st.button(
            "Save",
            type="primary",
            key=f"save {key}",
            disabled=right is None,
            on_click=_say,
            args=(subject, said, key, right),
        )
        st.button("Cancel", key=f"cancel {key}", on_click=_set_open, args=(key, False))


def _say(subject: Subject, said: Corrections, key: str, right: str | None) -> None:
    """Tell the history what is right; None takes it back."""
    _set_open(key, False)
    try:
        subject.client.history.correct(subject.answer_id, right)
    except ClientError as error:
        st.session_state[_trouble(key)] = error
        return
    if right is None:
        said.pop(subject.answer_id, None)
    else:
        said[subject.answer_id] = right
    tell()


def _set_open(key: str, is_open: bool) -> None:
    st.session_state[_open(key)] = is_open


def _open(key: str) -> str:
    return f"labels open {key}"


def _trouble(key: str) -> str:
    return f"trouble {key}"
