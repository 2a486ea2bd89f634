"""Confirm or correct a prediction that is stored in the history."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import streamlit as st

from client import Classification, Client, ClientError
from frontend.service import errors
from frontend.service.session import Service
from frontend.ui import alerts
from frontend.ui.formatting import escape, label_name

Corrections = dict[str, str]  # the right label by the classification's id

_RERUN = "correction made"


@dataclass(frozen=True, slots=True)
class FeedbackTarget:
    """A stored classification; `labels` are the ones to choose from.

    `store` stores a classification that is not stored yet when the first feedback is given, and
    returns its id in the history. It raises ClientError.
    """

    client: Client
    classification_id: str
    prediction: str
    labels: Sequence[str]
    kind: str
    store: Callable[[], str] | None = None


def target_of(service: Service, result: Classification) -> FeedbackTarget | None:
    """Return the feedback target of a classification; None where it is not stored."""
    if not result.stored:
        return None
    labels, kind = service.model.labels, service.model.input.kind
    return FeedbackTarget(service.client, result.id, result.prediction, labels, kind)


def show(
    target: FeedbackTarget,
    corrections: Corrections,
    key: str,
    extra_actions: Callable[[], None] | None = None,
) -> None:
    """Show the feedback buttons of a stored classification; update `corrections`.

    An error of the history appears below the buttons and leaves the rest of the page intact.
    `extra_actions` adds further buttons to the row.
    """
    if st.session_state.pop(_RERUN, False):
        st.rerun()  # the rest of the page shows corrections too
    key = f"{key} {target.classification_id}"
    right = corrections.get(target.classification_id)
    with st.container(horizontal=True, vertical_alignment="center"):
        if right is None:
            st.button(
                "Correct",
                icon=":material/check:",
                key=f"right {key}",
                on_click=_submit,
                args=(target, corrections, key, target.prediction),
            )
        elif right == target.prediction:
            _show_status("Marked correct")
        else:
            _show_status(f"Corrected to {label_name(right, target.kind)}")
        st.button(
            "Wrong, fix it" if right is None else "Change",
            icon=":material/edit:",
            key=f"wrong {key}",
            on_click=_set_open,
            args=(key, True),
        )
        if right is not None:
            st.button(
                "Undo",
                icon=":material/undo:",
                key=f"back {key}",
                on_click=_submit,
                args=(target, corrections, key, None),
            )
        if extra_actions is not None:
            extra_actions()
    if st.session_state.get(_open_key(key)):
        _show_labels(target, corrections, key)
    if isinstance(error := st.session_state.pop(_error_key(key), None), ClientError):
        alerts.show(errors.describe_history_error(error), key=f"correcting {key}")


# For pages without a fragment of their own. Nested fragments break the page: Streamlit keeps the
# elements of the inner one when the outer one reruns before the inner one has finished.
show_fragment = st.fragment(show)


def rerun_page() -> None:
    """Rerun the whole page on the next run of a feedback row."""
    st.session_state[_RERUN] = True


def _show_status(text: str) -> None:
    st.markdown(f":material/check_circle: {escape(text)}", width="content")


def _show_labels(target: FeedbackTarget, corrections: Corrections, key: str) -> None:
    right = st.selectbox(
        "Correct label", target.labels, index=None, placeholder="Choose a label", key=f"label {key}"
    )
    with st.container(horizontal=True):
        st.button(
            "Save",
            type="primary",
            key=f"save {key}",
            disabled=right is None,
            on_click=_submit,
            args=(target, corrections, key, right),
        )
        st.button("Cancel", key=f"cancel {key}", on_click=_set_open, args=(key, False))


def _submit(target: FeedbackTarget, corrections: Corrections, key: str, right: str | None) -> None:
    """Send the right label to the history; None removes the feedback."""
    _set_open(key, False)
    try:
        stored_id = target.store() if target.store else target.classification_id
        target.client.history.correct(stored_id, right)
    except ClientError as error:
        st.session_state[_error_key(key)] = error
        return
    if right is None:
        corrections.pop(target.classification_id, None)
    else:
        corrections[target.classification_id] = right
    rerun_page()


def _set_open(key: str, is_open: bool) -> None:
    st.session_state[_open_key(key)] = is_open


def _open_key(key: str) -> str:
    return f"labels open {key}"


def _error_key(key: str) -> str:
    return f"feedback error {key}"
