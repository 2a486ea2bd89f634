"""Confirm or correct a prediction that is stored in the history."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import streamlit as st

from client import Classification, ClassScore, Client, ClientError, Models, StoredClassification
from frontend.service import errors
from frontend.service.session import Service
from frontend.ui import alerts
from frontend.ui.formatting import escape, label_name

Corrections = dict[str, str]  # the right label by the classification's id, or NONE_OF_THESE

NONE_OF_THESE = "none of these"
MAX_ALTERNATIVES = 3  # labels with a button

_RERUN = "correction made"


@dataclass(frozen=True, slots=True)
class FeedbackTarget:
    """A stored classification; `alternatives` are the labels with a button.

    `model` is the name of the model that classified, `labels` its labels, and `models` are the
    served models, whose labels can be chosen too. `store` stores a classification that is not
    stored yet when the first feedback is given, and returns its id in the history. It raises
    ClientError.
    """

    client: Client
    classification_id: str
    prediction: str
    is_rejected: bool
    alternatives: Sequence[str]
    labels: Sequence[str]
    model: str
    models: Models
    store: Callable[[], str] | None = None

    @property
    def kind(self) -> str:
        """Return the input kind of the model; empty if it is not served."""
        model = self.models.get(self.model)
        return model.input.kind if model else ""


def target_of(
    service: Service, result: Classification, store: Callable[[], str] | None = None
) -> FeedbackTarget | None:
    """Return the feedback target of a classification; None where it is not and cannot be stored.

    A classification with several labels has none: feedback names one right label.
    """
    if result.labels is not None or (not result.stored and store is None):
        return None
    return _make_target(service.client, service.models, result, store)


def target_of_stored(
    client: Client, models: Models, stored: StoredClassification
) -> FeedbackTarget:
    """Return the feedback target of a classification in the history."""
    return _make_target(client, models, stored)


def corrections_of(stored: StoredClassification) -> Corrections:
    """Return the feedback that the history contains."""
    if stored.none_of_these:
        return {stored.id: NONE_OF_THESE}
    return {} if stored.correction is None else {stored.id: stored.correction}


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
    with st.container(horizontal=True, vertical_alignment="center", gap="xsmall"):
        if right is None:
            _show_buttons(target, corrections, key)
        else:
            st.markdown(
                f":material/check_circle: {escape(_status(target, right))}", width="content"
            )
            _show_button("Undo", "undo", f"back {key}", target, corrections, key, None)
        if extra_actions is not None:
            extra_actions()
    if right is None and st.session_state.get(_open_key(key)):
        _show_search(target, corrections, key)
    if isinstance(error := st.session_state.pop(_error_key(key), None), ClientError):
        alerts.show(errors.describe_history_error(error), key=f"correcting {key}")


# For pages without a fragment of their own. Nested fragments break the page: Streamlit keeps the
# elements of the inner one when the outer one reruns before the inner one has finished.
show_fragment = st.fragment(show)


def rerun_page() -> None:
    """Rerun the whole page on the next run of a feedback row."""
    st.session_state[_RERUN] = True


def _make_target(
    client: Client,
    models: Models,
    result: Classification | StoredClassification,
    store: Callable[[], str] | None = None,
) -> FeedbackTarget:
    model = models.get(result.model.name)
    labels = model.labels if model else tuple(score.label for score in result.top)
    is_rejected = result.in_distribution is False
    return FeedbackTarget(
        client,
        result.id,
        result.prediction,
        is_rejected,
        _alternatives(result.prediction, result.top, is_rejected=is_rejected),
        labels,
        result.model.name,
        models,
        store,
    )


def _alternatives(
    prediction: str, top: Sequence[ClassScore], *, is_rejected: bool
) -> tuple[str, ...]:
    """Return the most probable labels, without the prediction unless it is rejected."""
    labels = [score.label for score in top if is_rejected or score.label != prediction]
    return tuple(labels[:MAX_ALTERNATIVES])


def _status(target: FeedbackTarget, right: str) -> str:
    if right == NONE_OF_THESE:
        return "Marked as none of these"
    if right == target.prediction and not target.is_rejected:
        return "Marked correct"
    return f"Corrected to {label_name(right, target.kind)}"


def _show_buttons(target: FeedbackTarget, corrections: Corrections, key: str) -> None:
    """Show the buttons of a classification without feedback."""
    if target.is_rejected:
        st.markdown("What is it?", width="content")
    else:
        _show_button(
            "Correct", "check", f"right {key}", target, corrections, key, target.prediction
        )
        st.markdown("Wrong? It is:", width="content")
    for number, label in enumerate(target.alternatives):
        name = escape(label)
        _show_button(name, None, f"label {number} {key}", target, corrections, key, label)
    _show_button("None of these", None, f"none {key}", target, corrections, key, NONE_OF_THESE)
    st.button(
        "Other label",
        icon=":material/search:",
        key=f"search {key}",
        on_click=_toggle_search,
        args=(key,),
    )


def _show_button(
    name: str,
    icon: str | None,
    widget_key: str,
    target: FeedbackTarget,
    corrections: Corrections,
    key: str,
    right: str | None,
) -> None:
    st.button(
        name,
        icon=icon and f":material/{icon}:",
        key=widget_key,
        on_click=_submit,
        args=(target, corrections, key, right),
    )


def _show_search(target: FeedbackTarget, corrections: Corrections, key: str) -> None:
    """Show all labels; the chosen one is submitted at once."""
    choices = dict(_choices(target))
    st.selectbox(
        "Right label",
        list(choices),
        index=None,
        placeholder=f"Type to search {len(choices):,} labels",
        key=f"choice {key}",
        on_change=_submit_choice,
        args=(target, corrections, key, choices),
    )


def _choices(target: FeedbackTarget) -> Iterator[tuple[str, tuple[str, str | None]]]:
    """Yield the text, the label and the model of each label; None is the model that classified.

    A label that several models have appears once.
    """
    seen = set(target.labels)
    yield from ((label, (label, None)) for label in target.labels)
    for model in target.models.models:
        if model.state != "ready":
            continue
        for label in model.labels:
            if label not in seen:
                seen.add(label)
                yield f"{label} ({model.title})", (label, model.name)


def _submit_choice(
    target: FeedbackTarget,
    corrections: Corrections,
    key: str,
    choices: dict[str, tuple[str, str | None]],
) -> None:
    if (chosen := st.session_state[f"choice {key}"]) is not None:
        _submit(target, corrections, key, *choices[chosen])


def _submit(
    target: FeedbackTarget,
    corrections: Corrections,
    key: str,
    right: str | None,
    model: str | None = None,
) -> None:
    """Send the right label of `model` to the history; None removes the feedback."""
    st.session_state[_open_key(key)] = False
    try:
        stored_id = target.store() if target.store else target.classification_id
        if right == NONE_OF_THESE:
            target.client.history.none_of_these(stored_id)
        else:
            target.client.history.correct(stored_id, right, model)
    except ClientError as error:
        st.session_state[_error_key(key)] = error
        return
    if right is None:
        corrections.pop(target.classification_id, None)
    else:
        corrections[target.classification_id] = right
    rerun_page()


def _toggle_search(key: str) -> None:
    st.session_state[_open_key(key)] = not st.session_state.get(_open_key(key), False)


def _open_key(key: str) -> str:
    return f"labels open {key}"


def _error_key(key: str) -> str:
    return f"feedback error {key}"
