"""Long work on a page: started, watched, stopped, and found again after a reload."""

from collections.abc import Callable
from typing import Any

import streamlit as st

from frontend.state import url_state
from frontend.state.jobs import Job, Jobs
from frontend.ui.formatting import plain

POLL = 0.5  # seconds between two looks at work under way
_OWN = "work begun here"


@st.cache_resource(show_spinner=False)
def jobs() -> Jobs:
    """Return the jobs of all sessions."""
    return Jobs()


def start(name: str, work: Callable[[Job], Any]) -> None:
    """Begin work in place of the one that the address names by `name`; raises BusyError.

    What this session began before is forgotten. What came by a link stays: it may be another's.
    """
    token = jobs().start(work).token
    _forget_own(name)
    url_state.put(name, token)
    _own().add(token)


def current(name: str) -> Job | None:
    """Return the work that the address names by `name`; what is no longer held is said so."""
    token = url_state.get(name)
    job = jobs().find(token)
    if token and job is None:
        st.info("This result is no longer kept. Start again to have it back.")
    return job


def forget(name: str) -> None:
    """Drop the work from the address, and its result where this session began it."""
    _forget_own(name)
    url_state.put(name, None)


def watch(job: Job, says: Callable[[Job], str]) -> None:
    """Show how far work under way is, and a way to stop it; run the page again at its end."""
    if job.is_over:  # it ended since the page looked at it
        st.rerun()
    _watch(job, says)


@st.fragment(run_every=POLL)
def _watch(job: Job, says: Callable[[Job], str]) -> None:
    job.look()
    if job.is_over:
        st.rerun()
    share = min(job.done / job.total, 1.0) if job.total else 0.0
    if job.state == "waiting":
        st.progress(0.0, "Waiting for other work to end…")
    else:
        st.progress(share, plain(says(job)))
    st.button(
        "Stopping…" if job.stop.is_set() else "Stop",
        icon=":material/stop_circle:",
        key=f"stop {job.token}",
        disabled=job.stop.is_set(),
        on_click=_cancel,  # not the job's own method: Streamlit keeps what is given here
        args=(job.token,),
    )


def _cancel(token: str) -> None:
    if (job := jobs().find(token)) is not None:
        job.cancel()


def _forget_own(name: str) -> None:
    token = url_state.get(name)
    if token in _own():
        _own().discard(token)
        jobs().forget(token)


def _own() -> set[str]:
    own: set[str] = st.session_state.setdefault(_OWN, set())
    return own
