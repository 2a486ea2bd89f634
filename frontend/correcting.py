"""Saying that an answer is right, or what would be."""

import streamlit as st

from client import Classification, ClientError
from frontend import notices, problems, words
from frontend.serving import Service
from frontend.words import plain

Corrections = dict[str, str]  # the right label by the answer's id

_NEWS = "correction made"


@st.fragment
def show(service: Service, result: Classification, said: Corrections, key: str) -> None:
    """Offer to confirm or correct an answer that the backend keeps; `said` remembers it.

    What is wrong with the history is told in words, and nothing else on the page is lost.
    """
    if not result.stored:
        return
    if st.session_state.pop(_NEWS, False):
        st.rerun()  # the rest of the page tells of corrections too
    key = f"{key} {result.id}"
    kind = service.model.input.kind
    right = said.get(result.id)
    given = (service, result, said, key)
    with st.container(horizontal=True, vertical_alignment="center"):
        if right is None:
            st.button(
                "It is right",
                icon=":material/check:",
                key=f"right {key}",
                on_click=_say,
                args=(*given, result.prediction),
            )
        elif right == result.prediction:
            _remark("You said that it is right.")
        else:
            _remark(f"You said that it is {words.noun(right, kind)}.")
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
                args=(*given, None),
            )
    if st.session_state.get(_open(key)):
        _offer_labels(service, result, said, key)
    if isinstance(trouble := st.session_state.pop(_trouble(key), None), ClientError):
        notices.show(problems.of_history(trouble), key=f"correcting {key}")


def _remark(text: str) -> None:
    st.markdown(f":material/check_circle: {plain(text)}", width="content")


def _offer_labels(service: Service, result: Classification, said: Corrections, key: str) -> None:
    right = st.selectbox(
        "The right label",
        service.model.labels,
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
            args=(service, result, said, key, right),
        )
        st.button("Cancel", key=f"cancel {key}", on_click=_set_open, args=(key, False))


def _say(
    service: Service, result: Classification, said: Corrections, key: str, right: str | None
) -> None:
    """Tell the history what is right; None takes it back."""
    _set_open(key, False)
    try:
        service.client.history.correct(result.id, right)
    except ClientError as error:
        st.session_state[_trouble(key)] = error
        return
    if right is None:
        said.pop(result.id, None)
    else:
        said[result.id] = right
    st.session_state[_NEWS] = True


def _set_open(key: str, is_open: bool) -> None:
    st.session_state[_open(key)] = is_open


def _open(key: str) -> str:
    return f"labels open {key}"


def _trouble(key: str) -> str:
    return f"trouble {key}"
