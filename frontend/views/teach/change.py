"""Changes of taught models by a click, and what came of the last one."""

from collections.abc import Callable

import streamlit as st

from client import ClientError
from frontend.service import errors
from frontend.ui import alerts
from frontend.ui.alerts import Problem
from frontend.ui.formatting import escape

_PROBLEM = "taught model problem"
_MESSAGE = "taught model message"


def run(work: Callable[[], object], message: str) -> None:
    """Change a model; keep the message, or the problem."""
    try:
        work()
    except ClientError as error:
        st.session_state[_PROBLEM] = errors.describe_model_error(error)
    else:
        st.session_state[_MESSAGE] = escape(message)


def show_message() -> None:
    """Show that the last change was made."""
    if message := st.session_state.pop(_MESSAGE, None):
        st.toast(message)


def show_problem() -> None:
    """Show why the last change was not made."""
    problem: Problem | None = st.session_state.pop(_PROBLEM, None)
    if problem is not None:
        alerts.show(problem, key="versions")


def has_problem() -> bool:
    """Return whether the last change was not made."""
    return _PROBLEM in st.session_state
