"""Long work in threads of its own, found again by its token after a reload. No Streamlit in here.

job = jobs.start(lambda job: evaluate(..., progress=job.advance, cancelled=job.is_cancelled))
jobs.find(job.token)
"""

import logging
import secrets
import threading
import time
from collections.abc import Callable
from typing import Any, Final, Literal

from frontend.state.expiry import Tidier

AT_ONCE: Final = 2  # further ones wait for their turn
MOST: Final = 24  # jobs that are held, finished ones included
ABANDONED: Final = 300.0  # s without anybody looking; browsers let hidden pages sleep for a minute
FORGOTTEN: Final = 3600.0  # s after which a result that nobody looks at is dropped
TIDY_EVERY: Final = 300.0  # s between two looks for such results

State = Literal["waiting", "running", "done", "failed"]
log = logging.getLogger("prism.jobs")


class BusyError(Exception):
    """As many jobs as can be held are running or waiting."""


class Job:
    """One piece of work. Its thread tells of the progress, any number of pages look at it.

    `done` of `total` steps are done; a total of 0 is not known yet. Once `state` is "done",
    `result` holds what the work returned; once it is "failed", `error` what it raised.
    """

    def __init__(self, work: Callable[["Job"], Any], clock: Callable[[], float]) -> None:
        self.token: Final = secrets.token_urlsafe(12)
        self.state: State = "waiting"
        self.done = 0
        self.total = 0
        self.note = ""  # what it is at just now, in words, where there is more to say
        self.result: Any = None
        self.error: Exception | None = None
        self._work: Callable[[Job], Any] | None = work
        self._clock = clock
        self._seen = clock()
        self._closed = False
        self._closing = threading.Lock()
        self.stop: Final = threading.Event()  # for what waits on an event

    def advance(self, done: int, total: int | None = None) -> None:
        """Tell how far the work is."""
        self.done = done
        if total is not None:
            self.total = total

    def cancel(self) -> None:
        """Ask the work to end; what it returns all the same is its result."""
        self.stop.set()

    def is_cancelled(self) -> bool:
        """Tell the work whether it should end: someone said so, or nobody looks any more."""
        if self.unseen > ABANDONED:
            self.stop.set()
        return self.stop.is_set()

    @property
    def is_over(self) -> bool:
        """Whether it is done or failed."""
        return self.state in ("done", "failed")

    @property
    def unseen(self) -> float:
        """Seconds since somebody looked."""
        return self._clock() - self._seen

    def look(self) -> None:
        """Say that somebody waits for this."""
        self._seen = self._clock()

    def run(self, turn: threading.Semaphore) -> None:
        """Do the work once it is its turn; work cancelled before then says itself what it is."""
        is_its_turn = False
        while not is_its_turn and not self.is_cancelled():
            is_its_turn = turn.acquire(timeout=0.2)
        try:
            self._do()
        finally:
            if is_its_turn:
                turn.release()

    def close(self) -> None:
        """End the work and give back what its result holds on to."""
        self.stop.set()
        with self._closing:
            self._closed = True
            if hasattr(self.result, "close"):
                self.result.close()
            self.result = None

    def _do(self) -> None:
        self.state = "running"
        try:
            work, self._work = self._work, None  # what it holds on to goes with it
            self.result = work(self) if work else None
        except Exception as error:
            log.exception("a job failed")
            self.error = error
            self.state = "failed"
        else:
            self.state = "done"
        if self._closed:
            self.close()


class Jobs:
    """All jobs of the process. A result that has a `close` is closed when it is forgotten."""

    def __init__(
        self, clock: Callable[[], float] = time.monotonic, tidy_every: float = TIDY_EVERY
    ) -> None:
        self._clock = clock
        self._tidier = Tidier(self._tidy, tidy_every)
        self._turn = threading.Semaphore(AT_ONCE)
        self._jobs: dict[str, Job] = {}
        self._lock = threading.Lock()

    def start(self, work: Callable[[Job], Any]) -> Job:
        """Begin work, which is given its job. Raises BusyError where too many are under way."""
        with self._lock:
            self._expire()
            self._make_room()
            job = Job(work, self._clock)
            self._jobs[job.token] = job
        self._tidier.wake()
        threading.Thread(
            target=job.run, args=(self._turn,), name=f"job-{job.token[:4]}", daemon=True
        ).start()
        return job

    def find(self, token: str | None) -> Job | None:
        """Return the job of that token, and look at it; None where it is no longer held."""
        with self._lock:
            self._expire()
            job = self._jobs.get(token or "")
        if job is not None:
            job.look()
        return job

    def forget(self, token: str | None) -> None:
        """End a job and drop its result."""
        with self._lock:
            job = self._jobs.pop(token or "", None)
        if job is not None:
            job.close()

    def _tidy(self) -> bool:
        with self._lock:
            self._expire()
            return bool(self._jobs)

    def _expire(self) -> None:
        for job in [job for job in self._jobs.values() if job.unseen > FORGOTTEN]:
            self._drop(job)

    def _make_room(self) -> None:
        over = [job for job in self._jobs.values() if job.is_over]
        if len(self._jobs) < MOST:
            return
        if not over:
            raise BusyError
        self._drop(max(over, key=lambda job: job.unseen))

    def _drop(self, job: Job) -> None:
        del self._jobs[job.token]
        job.close()
