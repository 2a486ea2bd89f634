"""Error and status messages with advice and a retry button."""

from dataclasses import dataclass

import streamlit as st

from frontend.ui.components import notifications
from frontend.ui.formatting import escape_copyable


@dataclass(frozen=True, slots=True)
class Problem:
    """A message and advice on what to do next."""

    message: str
    advice: str
    is_temporary: bool = False  # a retry may succeed
    is_waiting: bool = False  # a status, such as loading, and not an error
    retry_after: float | None = None  # seconds until the page retries by itself; None: never
    notes: tuple[str, ...] = ()  # details for the operator of the service


def show(problem: Problem, key: str = "notice") -> None:
    """Show a problem; a temporary one has a retry button and, with `retry_after`, a countdown.

    The countdown retries a limited number of times. Two alerts on one page need different keys.
    """
    show_message(problem)
    if problem.is_temporary:
        show_retry(key, countdown_seconds=problem.retry_after)


def show_message(problem: Problem) -> None:
    """Show the message, advice and notes without a retry button."""
    parts = enumerate(problem.advice.split("`"))  # the odd ones are our own code spans
    advice = "`".join(part if i % 2 else escape_copyable(part) for i, part in parts)
    text = f"{escape_copyable(problem.message)}  \n{advice}"
    if problem.is_waiting:
        st.info(text, icon=":material/hourglass_top:")
    else:
        st.error(text, icon=":material/error:")
    for note in problem.notes:
        st.caption(escape_copyable(note))


def show_retry(key: str, countdown_seconds: float | None = None) -> None:
    """Show the retry button, and a countdown that reruns the page if given."""
    with st.container(horizontal=True, vertical_alignment="center"):
        st.button("Try again", icon=":material/refresh:", key=f"{key} again")
        if countdown_seconds is not None:
            notifications.show_countdown(countdown_seconds, key=f"{key} countdown")
