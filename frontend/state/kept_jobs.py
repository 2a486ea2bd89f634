"""Jobs whose results are also in the page's store, where they survive a restart of its process.

A job is stored when it starts, every few seconds with its progress, and when it is finished with
its result. An error of the store is logged, and the job goes on: its result is then only in memory.
Imports no Streamlit.
"""

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from frontend.state import store_settings
from frontend.state.jobs import Job
from frontend.state.stored_result import State, StoredResult, StoreError

if TYPE_CHECKING:
    from frontend.state.page_store import PageStore

REPORT_INTERVAL: Final = 5.0  # s between two reports of the progress

log = logging.getLogger("prism.jobs")


@dataclass(frozen=True, slots=True)
class Kind:
    """The jobs of a page: `pack` turns a result into bytes, and `unpack` turns these back.

    `unpack` raises PackingError for content that does not fit.
    """

    name: str
    pack: Callable[[Any], bytes]
    unpack: Callable[[bytes], Any]


@dataclass(frozen=True, slots=True)
class Keeper:
    """Keeps a job in the store; `title` describes it to users."""

    kind: Kind
    title: str
    store: "PageStore"

    def started(self, job: Job) -> None:
        """Store that the job is running or waiting."""
        self._put(job, "running", None)
        _reporter.add(self.store, job)

    def finished(self, job: Job) -> None:
        """Store the result; a job that the end of the process stopped may have none."""
        _reporter.remove(job)
        result = job.result
        if job.is_closed:
            return
        if job.state == "failed" or result is None:
            self._put(job, "failed", None)
        elif job.is_interrupted and not job.done:
            self._put(job, "interrupted", None)
        else:
            self._put(job, "done", result)

    def _put(self, job: Job, state: State, result: Any) -> None:
        try:
            content = None if result is None else self.kind.pack(result)
            stored = StoredResult(state, self.title, job.done, job.total, content)
            self.store.put(job.token, self.kind.name, stored)
            if job.is_discarded:  # in the meantime: `delete` may have been too early
                self.store.delete(job.token)
        except StoreError as error:
            log.warning("a job cannot be stored: %s", error)
        except Exception:  # the result itself remains in memory
            log.exception("a job cannot be stored")


def keeper(kind: Kind, title: str) -> Keeper | None:
    """Return what keeps a new job; None without a store."""
    store = store_settings.store()
    return None if store is None else Keeper(kind, title, store)


def find(kind: Kind, token: str) -> StoredResult | None:
    """Return a stored job, None if there is none; raise StoreError."""
    store = store_settings.store()
    return None if store is None else store.find(token, kind.name)


def delete(token: str) -> None:
    """Delete a stored job."""
    if (store := store_settings.store()) is not None:
        try:
            store.delete(token)
        except StoreError as error:
            log.warning("a job cannot be deleted from the store: %s", error)


class _Reporter:
    """A thread that stores the progress of all unfinished jobs while there are any."""

    def __init__(self) -> None:
        self._lock: Final = threading.Lock()
        self._jobs: Final[dict[str, tuple[PageStore, Job]]] = {}
        self._is_running = False

    def add(self, store: "PageStore", job: Job) -> None:
        """Report on a job from now on."""
        with self._lock:
            self._jobs[job.token] = store, job
            if not self._is_running:
                self._is_running = True
                threading.Thread(target=self._run, name="job-reports", daemon=True).start()

    def remove(self, job: Job) -> None:
        """Stop the reports on a job."""
        with self._lock:
            self._jobs.pop(job.token, None)

    def _run(self) -> None:
        pause = threading.Event()
        while True:
            pause.wait(REPORT_INTERVAL)
            with self._lock:
                jobs = list(self._jobs.values())
                if not jobs:
                    self._is_running = False
                    return
            for store, job in jobs:
                try:
                    store.report({job.token: (job.done, job.total)})
                except StoreError as error:
                    log.warning("the progress of a job cannot be stored: %s", error)


_reporter: Final = _Reporter()
