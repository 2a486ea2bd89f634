"""The feedback buttons of a classification, with a history that records what it receives."""

from dataclasses import replace
from typing import Any

from streamlit.testing.v1 import AppTest

from client import BackendError, Client, InputSpec, ModelRef, Models
from frontend.service import feedback
from frontend.service.discovery import Address, AddressSource
from frontend.service.feedback import NONE_OF_THESE, FeedbackTarget
from frontend.service.session import Service
from tests.frontend.app import click, page_text
from tests.frontend.samples import MODEL, make_classification

PHOTOS = replace(
    MODEL,
    name="photos",
    title="Photos",
    labels=("tabby cat", "7", "lynx"),
    input=InputSpec("image", (3, 224, 224)),
)
LOADING = replace(PHOTOS, name="more", state="loading", labels=("zebra",))
MODELS = Models("auto", (MODEL, PHOTOS, LOADING), auto=("mnist-cnn", "photos"))
SEVEN = make_classification(
    ("7", 0.6), ("1", 0.2), ("9", 0.1), ("2", 0.05), ("3", 0.05), stored=True
)


class RecordingHistory:
    """Records feedback; raises `error` if there is one."""

    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []
        self.error: BackendError | None = None

    def correct(self, classification_id: str, label: str | None, model: str | None = None) -> None:
        self._record(classification_id, label, model)

    def none_of_these(self, classification_id: str) -> None:
        self._record(classification_id, NONE_OF_THESE)

    def _record(self, *call: Any) -> None:
        if self.error:
            raise self.error
        self.calls.append(call)


def make_target(**fields: Any) -> tuple[FeedbackTarget, RecordingHistory]:
    """Return the target of SEVEN with these fields changed, and its history."""
    client = Client("http://fake")
    history = RecordingHistory()
    client.history = history  # type: ignore[assignment]
    service = Service(client, MODELS, MODEL, Address("http://fake", AddressSource.DEFAULT), None)
    target = feedback.target_of(service, replace(SEVEN, **fields))
    assert target is not None
    return target, history


def open_row(target: FeedbackTarget) -> AppTest:
    """Open a page that consists of the feedback buttons."""

    def row() -> None:
        import streamlit as st

        from frontend.service import feedback

        feedback.show(st.session_state["target"], st.session_state["corrections"], "row")

    app = AppTest.from_function(row, default_timeout=30)
    app.session_state["target"] = target
    app.session_state["corrections"] = {}
    return app.run()


def labels_of(app: AppTest) -> list[str]:
    return [button.label for button in app.button]


def test_prediction_is_confirmed_with_one_click_and_undone() -> None:
    target, history = make_target()
    app = open_row(target)
    assert labels_of(app) == ["Correct", "1", "9", "2", "None of these", "Other label"]
    click(app, "Correct")
    assert "Marked correct" in page_text(app)
    assert labels_of(app) == ["Undo"]
    click(app, "Undo")
    assert history.calls == [("1", "7", None), ("1", None, None)]
    assert labels_of(app)[0] == "Correct"


def test_probable_label_is_chosen_with_one_click() -> None:
    target, history = make_target()
    app = click(open_row(target), "9")
    assert history.calls == [("1", "9", None)]
    assert "Corrected to 9" in page_text(app)


def test_none_of_these_is_submitted() -> None:
    target, history = make_target()
    app = click(open_row(target), "None of these")
    assert history.calls == [("1", NONE_OF_THESE)]
    assert "Marked as none of these" in page_text(app)
    assert app.session_state["corrections"] == {"1": NONE_OF_THESE}


def test_rejected_image_has_no_correct_button() -> None:
    target, history = make_target(in_distribution=False)
    app = open_row(target)
    assert labels_of(app) == ["7", "1", "9", "None of these", "Other label"]
    click(app, "7")
    assert history.calls == [("1", "7", None)]
    assert "Corrected to 7" in page_text(app)


def test_search_offers_the_labels_of_all_ready_models_once() -> None:
    target, history = make_target()
    app = click(open_row(target), "Other label")
    search = app.selectbox[0]
    assert search.options == [*MODEL.labels, "tabby cat (Photos)", "lynx (Photos)"]
    search.select("tabby cat (Photos)").run()
    assert history.calls == [("1", "tabby cat", "photos")]
    assert "Corrected to “tabby cat”" in page_text(app)
    assert len(app.selectbox) == 0


def test_search_of_own_label_names_no_model() -> None:
    target, history = make_target()
    click(open_row(target), "Other label").selectbox[0].select("4").run()
    assert history.calls == [("1", "4", None)]


def test_search_can_be_closed() -> None:
    target, _ = make_target()
    app = click(click(open_row(target), "Other label"), "Other label")
    assert len(app.selectbox) == 0


def test_model_that_is_not_served_offers_its_stored_labels() -> None:
    target, _ = make_target(model=ModelRef("removed", "1"))
    assert tuple(target.labels) == ("7", "1", "9", "2", "3")
    assert labels_of(open_row(target))[0] == "Correct"


def test_label_with_markdown_is_shown_as_it_is() -> None:
    result = make_classification(("a", 0.6), ("*b* :red[c]", 0.4), stored=True)
    target, history = make_target(prediction="a", top=result.top)
    app = open_row(target)
    name = labels_of(app)[1]
    assert name.startswith(r"\*b\*")
    click(app, name)
    assert history.calls == [("1", "*b* :red[c]", None)]


def test_failed_feedback_is_reported_and_changes_nothing() -> None:
    target, history = make_target()
    history.error = BackendError(status=503, code="history_unavailable")
    app = click(open_row(target), "Correct")
    assert "The backend cannot reach its history database." in page_text(app)
    assert labels_of(app)[0] == "Correct"


def test_first_feedback_stores_an_unstored_classification() -> None:
    target, history = make_target()
    app = click(open_row(replace(target, store=lambda: "stored id")), "9")
    assert history.calls == [("stored id", "9", None)]
    assert app.session_state["corrections"] == {"1": "9"}


def test_unstored_classification_has_no_target() -> None:
    client = Client("http://fake")
    service = Service(client, MODELS, MODEL, Address("http://fake", AddressSource.DEFAULT), None)
    unstored = replace(SEVEN, stored=False)
    assert feedback.target_of(service, unstored) is None
    assert feedback.target_of(service, unstored, store=lambda: "id") is not None
