"""What a person says of an answer: that it is right, or what would be."""

from collections.abc import Callable, Sequence

import streamlit as st

from client import Client, ClientError
from frontend import notices, problems, words
from frontend.words import plain

_SAID = "what was said of answers"
_TROUBLE = "trouble with a correction"


def show(
    client: Client,
    answer_id: str,
    prediction: str,
    labels: Sequence[str],
    *,
    kind: str = "",
    also: Callable[[], None] | None = None,
) -> None:
    """Offer to confirm or correct a stored answer, or to take back what was said of it.

    `labels` are those to choose from, `kind` the model's kind of input. `also` shows what else can
    be done, in the same row.
    """
    said = _said().get(answer_id)
    with st.container(horizontal=True, vertical_alignment="center"):
        if said is None:
            _offer(client, answer_id, prediction, labels)
        else:
            _show_said(client, answer_id, said == prediction, words.noun(said, kind))
        if also is not None:
            also()
    if (trouble := st.session_state.get(_TROUBLE)) and trouble[0] == answer_id:
        notices.show(trouble[1])


def remember(answer_id: str, label: str | None) -> None:
    """Take over what the history knows; None where nobody has said anything."""
    _said()[answer_id] = label


def _show_said(client: Client, answer_id: str, is_right: bool, right: str) -> None:
    if is_right:
        st.markdown(":material/check: Said to be right.", width="content")
    else:
        st.markdown(f":material/edit: Corrected: this is {plain(right)}.", width="content")
    st.button(
        "Take it back",
        key=f"take back {answer_id}",
        on_click=_correct,
        args=(client, answer_id, None),
    )


def _offer(client: Client, answer_id: str, prediction: str, labels: Sequence[str]) -> None:
    st.button(
        "It is right",
        key=f"right {answer_id}",
        icon=":material/check:",
        help="Say that this answer is right",
        on_click=_correct,
        args=(client, answer_id, prediction),
    )
    with st.popover("Wrong? Correct it", icon=":material/edit:", key=f"wrong {answer_id}"):
        wanted = st.selectbox(
            "What is it?",
            [label for label in labels if label != prediction],
            index=None,
            placeholder="Choose the right label",
            key=f"label {answer_id}",
        )
        st.button(
            "Save",
            key=f"save {answer_id}",
            type="primary",
            disabled=wanted is None,
            on_click=_correct,
            args=(client, answer_id, wanted),
        )


def _correct(client: Client, answer_id: str, label: str | None) -> None:
    st.session_state.pop(_TROUBLE, None)
    try:
        client.history.correct(answer_id, label)
    except ClientError as error:
        st.session_state[_TROUBLE] = answer_id, problems.of_history(error)
    else:
        remember(answer_id, label)


def _said() -> dict[str, str | None]:
    """Return what was said in this session, by the answer's id."""
    said: dict[str, str | None] = st.session_state.setdefault(_SAID, {})
    return said
