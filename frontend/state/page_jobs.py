"""Background jobs on a page: start, watch, cancel, and find again after a reload.

Jobs of a `Kind` are also found after a restart of the page's process, if there is a store.
"""

import logging
from collections.abc import Callable
from typing import Any

import streamlit as st

from frontend.state import kept_jobs, url_state
from frontend.state.jobs import BusyError, Job, Jobs
from frontend.state.kept_jobs import Kind
from frontend.state.stored_result import PackingError, StoredResult, StoreError
from frontend.ui.formatting import escape

POLL_INTERVAL = 0.5  # seconds between two updates of a running job
STORE_INTERVAL = 2.0  # seconds between two updates of a job of another process
_OWN_TOKENS = "own jobs"
_EXPIRED = "This result has expired. Start again to get a new one."

log = logging.getLogger("prism.jobs")


@st.cache_resource(show_spinner=False)
def jobs() -> Jobs:
    """Return the jobs of all sessions."""
    return Jobs()


def start(name: str, work: Callable[[Job], Any], kind: Kind | None = None, title: str = "") -> None:
    """Start a job and put its token into the URL parameter `name`; raise BusyError.

    The job that it replaces is discarded if this session started it; others may still use a job
    that came through a link. A job of a `kind` is stored with its `title`.
    """
    keeper = kept_jobs.keeper(kind, title) if kind else None
    token = jobs().start(work, keeper).token
    _discard_own(name)
    url_state.put(name, token)
    _own_tokens().add(token)


def current(name: str, kind: Kind | None = None) -> Job | None:
    """Return the job in the URL parameter `name`; show a message if it has expired.

    A job of a `kind` that is not in memory is restored from the store; show a message if it runs in
    another process, or was interrupted.
    """
    token = url_state.get(name)
    job = jobs().find(token)
    if not token or job is not None:
        return job
    if kind is None:
        st.info(_EXPIRED)
        return None
    try:
        stored = kept_jobs.find(kind, token)
    except StoreError as error:
        log.warning("a stored job cannot be read: %s", error)
        st.error(
            "The stored results cannot be read at the moment. Reload this page in a minute.",
            icon=":material/error:",
        )
        return None
    return _restore(kind, token, stored)


def _restore(kind: Kind, token: str, stored: StoredResult | None) -> Job | None:
    """Return a stored job that is done; else show its state and return None."""
    if stored is None:
        st.info(_EXPIRED)
    elif stored.state == "running":
        _watch_elsewhere(kind, token, stored)
    elif stored.state == "interrupted":
        progress = f" after {stored.done:,} of {stored.total:,} images" if stored.total else ""
        st.warning(
            f"{escape(stored.title)} was interrupted{progress}: the server of this page stopped. "
            "Uploaded files are not kept, so choose them again to start again.",
            icon=":material/incomplete_circle:",
        )
    elif stored.content is None:
        st.error(f"{escape(stored.title)} failed unexpectedly. Start again.")
    else:
        try:
            result = kind.unpack(stored.content)
        except PackingError as error:  # of another version of the page
            log.warning("a stored result is not used: %s", error)
            st.info(_EXPIRED)
            return None
        try:
            return jobs().adopt(token, result)
        except BusyError:
            st.info("Too many jobs are running. Reload this page when some have finished.")
    return None


@st.fragment(run_every=STORE_INTERVAL)
def _watch_elsewhere(kind: Kind, token: str, shown: StoredResult) -> None:
    """Show the progress of a job of another process; rerun the page when its state changes."""
    try:
        stored = kept_jobs.find(kind, token)
    except StoreError:
        stored = shown
    if stored is None or stored.state != "running":
        st.rerun()
    share = min(stored.done / stored.total, 1.0) if stored.total else 0.0
    st.progress(
        share,
        f"{escape(stored.title)}: {stored.done:,} of {stored.total:,} images. "
        "Waiting for the instance that runs it.",
    )


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
    if token and token in _own_tokens():
        _own_tokens().discard(token)
        jobs().discard(token)
        kept_jobs.delete(token)


def _own_tokens() -> set[str]:
    tokens: set[str] = st.session_state.setdefault(_OWN_TOKENS, set())
    return tokens
