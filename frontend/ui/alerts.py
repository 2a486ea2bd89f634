"""Problems on the page, with a way on."""

import streamlit as st

from frontend.service import session
from frontend.service.errors import Problem
from frontend.ui.components import countdown
from frontend.ui.formatting import escaped

POLL = 2.0  # seconds between two looks at a backend that may come up


def show_service(problem: Problem) -> None:
    """Show why there is no service; look again now and then where it may come up by itself."""
    if problem.again is not None and problem.again > POLL:
        show(problem)
        return
    _say(problem)
    if problem.passing:
        _offer(problem, "service")
        _watch(problem)


def show(problem: Problem, key: str = "notice") -> None:
    """Show what is wrong and what to do, with a button where trying again may help.

    Where waiting may help it counts the seconds and tries again by itself, a few times. Two
    notices at once need a `key` each.
    """
    _say(problem)
    if problem.passing:
        _offer(problem, key, counts=True)


def _say(problem: Problem) -> None:
    text = f"{escaped(problem.what)}  \n{_advice(problem.advice)}"
    if problem.waiting:
        st.info(text, icon=":material/hourglass_top:")
    else:
        st.error(text, icon=":material/error:")
    for note in problem.notes:
        st.caption(escaped(note))


def _offer(problem: Problem, key: str, *, counts: bool = False) -> None:
    with st.container(horizontal=True, vertical_alignment="center"):
        st.button("Try again", icon=":material/refresh:", key=f"{key} again")
        if counts and problem.again is not None:
            countdown.show(problem.again, key=f"{key} countdown")


def _advice(text: str) -> str:
    """Escape all but our own code spans."""
    return "`".join(part if i % 2 else escaped(part) for i, part in enumerate(text.split("`")))


@st.fragment(run_every=POLL)
def _watch(problem: Problem) -> None:
    """Run the page again as soon as the problem is gone, or has become another one."""
    session.refresh()
    if session.ready() != problem:
        st.rerun()
