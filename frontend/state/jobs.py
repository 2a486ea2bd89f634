"""Background jobs in threads, found again by their token after a reload. Imports no Streamlit.

job = jobs.start(lambda job: evaluate(..., progress=job.advance, is_cancelled=job.is_cancelled))
jobs.find(job.token)
"""

import logging
import secrets
import threading
import time
from collections.abc import Callable
from contextvars import copy_context
from typing import Any, Final, Literal, Protocol

MAX_RUNNING: Final = 2  # further jobs wait
MAX_JOBS: Final = 24  # including finished ones
ABANDON_AFTER: Final = 300.0  # s without access; browsers suspend hidden pages for a minute
EXPIRE_AFTER: Final = 3600.0  # s without access after which a result is dropped
EXPIRY_INTERVAL: Final = 300.0  # s between two checks for expired results

State = Literal["waiting", "running", "done", "failed"]
log = logging.getLogger("prism.jobs")


class BusyError(Exception):
    """The maximum number of jobs is running or waiting."""


class Keeper(Protocol):
    """Stores the state of a job. Its methods are called in the job's thread and raise nothing."""

    def started(self, job: "Job") -> None:
        """Handle a job that waits or runs."""

    def finished(self, job: "Job") -> None:
        """Handle a job that is done or has failed."""


class ExpiryTimer:
    """Calls `expire` every `interval` seconds after a start, for as long as it returns True.

    Without it, data would expire only on the next request to the server.
    """

    def __init__(self, expire: Callable[[], bool], interval: float) -> None:
        self._expire, self._interval = expire, interval
        self._lock = threading.Lock()
        self._timer: threading.Timer | None = None

    def start(self) -> None:
        """Start the timer, unless it is running."""
        with self._lock:
            if self._timer is None:
                self._timer = threading.Timer(self._interval, self._run)
                self._timer.daemon = True
                self._timer.start()

    def _run(self) -> None:
        with self._lock:
            self._timer = None
        if self._expire():
            self.start()


class Job:
    """One job. Its thread reports the progress; any number of pages read it.

    `done` of `total` steps are done; the total is 0 while it is unknown. When `state` is "done",
    `result` is the return value of the work; when it is "failed", `error` is its exception.
    `is_interrupted` is whether the end of the process has stopped it, `is_discarded` whether its
    user has discarded it.
    """

    def __init__(
        self,
        work: Callable[["Job"], Any],
        clock: Callable[[], float],
        keeper: Keeper | None = None,
        token: str | None = None,
    ) -> None:
        self.token: Final = token or secrets.token_urlsafe(12)
        self.state: State = "waiting"
        self.done = 0
        self.total = 0
        self.note = ""  # details of the current step
        self.result: Any = None
        self.error: Exception | None = None
        self.is_interrupted = False
        self.is_discarded = False
        self._keeper = keeper
        self._work: Callable[[Job], Any] | None = work
        self._clock = clock
        self._context = copy_context()  # with the trace of the page's run
        self._accessed_at = clock()
        self._is_closed = False
        self._has_ended = threading.Event()
        self._close_lock = threading.Lock()
        self.stop: Final = threading.Event()  # set on cancellation

    def advance(self, done: int, total: int | None = None) -> None:
        """Report the progress."""
        self.done = done
        if total is not None:
            self.total = total

    def cancel(self) -> None:
        """Ask the work to stop; its return value is still the result."""
        self.stop.set()

    def is_cancelled(self) -> bool:
        """Return whether the work should stop: it was cancelled or abandoned."""
        if self.idle_seconds > ABANDON_AFTER:
            self.stop.set()
        return self.stop.is_set()

    @property
    def is_finished(self) -> bool:
        """Whether it is done or failed."""
        return self.state in ("done", "failed")

    @property
    def is_closed(self) -> bool:
        """Whether its result has been dropped."""
        return self._is_closed

    @property
    def idle_seconds(self) -> float:
        """Seconds since the last access."""
        return self._clock() - self._accessed_at

    def touch(self) -> None:
        """Record an access."""
        self._accessed_at = self._clock()

    def run(self, slots: threading.Semaphore) -> None:
        """Run the work as soon as a slot is free.

        A job that is already cancelled needs no slot: its work returns an empty result.
        """
        if self._keeper is not None:
            self._keeper.started(self)
        has_slot = False
        while not has_slot and not self.is_cancelled():
            has_slot = slots.acquire(timeout=0.2)
        try:
            self._context.run(self._execute)
        finally:
            if has_slot:
                slots.release()
            if self._keeper is not None:
                self._keeper.finished(self)
            self._has_ended.set()

    def interrupt(self) -> None:
        """Stop the work because the process ends."""
        self.is_interrupted = True
        self.cancel()

    def wait(self, seconds: float) -> bool:
        """Wait until `run` has ended; return whether it has."""
        return self._has_ended.wait(seconds)

    def adopt(self, result: Any) -> None:
        """Become done with the result of an earlier process."""
        self.result = result
        self.state = "done"
        self._has_ended.set()

    def close(self) -> None:
        """Stop the work and release the resources of its result."""
        self.stop.set()
        with self._close_lock:
            self._is_closed = True
            if hasattr(self.result, "close"):
                self.result.close()
            self.result = None

    def _execute(self) -> None:
        self.state = "running"
        try:
            work, self._work = self._work, None  # frees the objects that it references
            self.result = work(self) if work else None
        except Exception as error:
            log.exception("a job failed")
            self.error = error
            self.state = "failed"
        else:
            self.state = "done"
        if self._is_closed:
            self.close()


class Jobs:
    """All jobs of the process. A result with a `close` method is closed when it is dropped."""

    def __init__(
        self, clock: Callable[[], float] = time.monotonic, expiry_interval: float = EXPIRY_INTERVAL
    ) -> None:
        self._clock = clock
        self._expiry_timer = ExpiryTimer(self._expire, expiry_interval)
        self._slots = threading.Semaphore(MAX_RUNNING)
        self._jobs: dict[str, Job] = {}
        self._lock = threading.Lock()

    def start(self, work: Callable[[Job], Any], keeper: Keeper | None = None) -> Job:
        """Start `work(job)` in a thread; raise BusyError if there are too many jobs."""
        job = Job(work, self._clock, keeper)
        self._add(job)
        name = f"job-{job.token[:4]}"
        threading.Thread(target=job.run, args=(self._slots,), name=name, daemon=True).start()
        return job

    def adopt(self, token: str, result: Any) -> Job:
        """Return a finished job with the result of an earlier process.

        Raise BusyError if there are too many jobs.
        """
        job = Job(lambda _: None, self._clock, token=token)
        job.adopt(result)
        self._add(job)
        return job

    def interrupt(self, seconds: float) -> None:
        """Stop all jobs because the process ends; wait at most so long until they have ended."""
        with self._lock:
            jobs = [job for job in self._jobs.values() if not job.wait(0)]
        for job in jobs:
            job.interrupt()
        end = time.monotonic() + seconds
        for job in jobs:
            job.wait(max(0.0, end - time.monotonic()))

    def find(self, token: str | None) -> Job | None:
        """Return the job of that token and record the access; None if there is none (any more)."""
        with self._lock:
            self._drop_expired()
            job = self._jobs.get(token or "")
        if job is not None:
            job.touch()
        return job

    def discard(self, token: str | None) -> None:
        """Stop a job and drop its result."""
        with self._lock:
            job = self._jobs.pop(token or "", None)
        if job is not None:
            job.is_discarded = True
            job.close()

    def _add(self, job: Job) -> None:
        with self._lock:
            self._drop_expired()
            self._make_room()
            self._jobs[job.token] = job
        self._expiry_timer.start()

    def _expire(self) -> bool:
        with self._lock:
            self._drop_expired()
            return bool(self._jobs)

    def _drop_expired(self) -> None:
        for job in [job for job in self._jobs.values() if job.idle_seconds > EXPIRE_AFTER]:
            self._drop(job)

    def _make_room(self) -> None:
        finished = [job for job in self._jobs.values() if job.is_finished]
        if len(self._jobs) < MAX_JOBS:
            return
        if not finished:
            raise BusyError
        self._drop(max(finished, key=lambda job: job.idle_seconds))

    def _drop(self, job: Job) -> None:
        del self._jobs[job.token]
        job.close()
