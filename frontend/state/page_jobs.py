"""Background jobs on a page: start, watch, cancel, and find again after a reload."""

from collections.abc import Callable
from typing import Any

import streamlit as st

from frontend.state import url_state
from frontend.state.jobs import Job, Jobs
from frontend.ui.formatting import escape

POLL_INTERVAL = 0.5  # seconds between two updates of a running job
_OWN_TOKENS = "own jobs"


@st.cache_resource(show_spinner=False)
def jobs() -> Jobs:
    """Return the jobs of all sessions."""
    return Jobs()


def start(name: str, work: Callable[[Job], Any]) -> None:
    """Start a job and put its token into the URL parameter `name`; raise BusyError.

    The job that it replaces is discarded if this session started it; others may still use a job
    that came through a link.
    """
    token = jobs().start(work).token
    _discard_own(name)
    url_state.put(name, token)
    _own_tokens().add(token)


def current(name: str) -> Job | None:
    """Return the job in the URL parameter `name`; show a message if it has expired."""
    token = url_state.get(name)
    job = jobs().find(token)
    if token and job is None:
        st.info("This result has expired. Start again to get a new one.")
    return job


def discard(name: str) -> None:
    """Remove the job from the URL, and its result if this session started it."""
    _discard_own(name)
    url_state.put(name, None)


def watch(job: Job, describe: Callable[[Job], str]) -> None:
    """Show the progress of a job and a button to stop it; rerun the page when it finishes."""
    if job.is_finished:  # since the page fetched it
        st.rerun()
    _watch(job, describe)


@st.fragment(run_every=POLL_INTERVAL)
def _watch(job: Job, describe: Callable[[Job], str]) -> None:
    job.touch()
    if job.is_finished:
        st.rerun()
    share = min(job.done / job.total, 1.0) if job.total else 0.0
    if job.state == "waiting":
        st.progress(0.0, "Waiting for other jobs…")
    else:
        st.progress(share, escape(describe(job)))
    st.button(
        "Stopping…" if job.stop.is_set() else "Stop",
        icon=":material/stop_circle:",
        key=f"stop {job.token}",
        disabled=job.stop.is_set(),
        on_click=_cancel,  # not job.cancel: Streamlit would keep the job in memory
        args=(job.token,),
    )


def _cancel(token: str) -> None:
    if (job := jobs().find(token)) is not None:
        job.cancel()


def _discard_own(name: str) -> None:
    token = url_state.get(name)
    if token in _own_tokens():
        _own_tokens().discard(token)
        jobs().discard(token)


def _own_tokens() -> set[str]:
    tokens: set[str] = st.session_state.setdefault(_OWN_TOKENS, set())
    return tokens
