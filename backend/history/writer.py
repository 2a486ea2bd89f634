"""Commits records in groups: records that arrive during a commit share the next one.

SQLite commits a group in less time than it takes to wake a thread and to be woken by it, so the
event loop does it. A thread does what may have to wait: for PostgreSQL, a lock, or a slow disk.
"""

import asyncio
import logging
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from queue import SimpleQueue
from typing import TYPE_CHECKING, Final

from backend.history.errors import HistoryUnavailableError
from backend.history.record import HistoryRecord

if TYPE_CHECKING:
    from backend.history.store import Store

log = logging.getLogger("prism.history")

COMMIT_TIMEOUT: Final = 0.5  # s that a request waits for its commit
MAX_EARLY_RECORDS: Final = 1000  # records that wait until the database is open
_GROUP_SIZE: Final = 32  # records per commit
_MAX_SECONDS: Final = 0.005  # of a commit on the event loop; a disk that needs more is slow
_SLOW_DISK_PAUSE: Final = 60.0  # s in which the thread commits for a slow disk
_CHECKPOINT_INTERVAL: Final = 64  # groups after which the thread commits one, with a checkpoint
_RETRY_DELAY: Final = 1.0  # s between two attempts to open or to commit
_CLOSE_TIMEOUT: Final = 2.0  # s for the last commit

_Item = tuple[HistoryRecord, asyncio.Future[bool] | None]
_Outcome = tuple[asyncio.Future[bool], bool]  # of a request: whether its record is stored


class Writer:
    """Commits records, on the event loop or in a thread; its methods run on one event loop.

    Records that arrive before the database is open are committed later, and their requests do not
    wait. A failed commit is retried until it succeeds; until then further records are rejected.
    """

    def __init__(self, open_store: Callable[[], "Store"]) -> None:
        self.attempted: Final = asyncio.Event()
        self.opened: Final = asyncio.Event()
        self._open_store = open_store
        self._store: Store | None = None
        self._loop = asyncio.get_running_loop()
        self._pending: list[_Item] = []
        self._queue: SimpleQueue[list[_Item]] = SimpleQueue()  # an empty group ends the thread
        self._busy = True  # a group is in the queue or being committed
        self._failing = False
        self._groups = 0
        self._slow_until = 0.0  # time of the event loop
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="prism-history", daemon=True)
        self._thread.start()

    @property
    def store(self) -> "Store":
        """Return the store for reading; raise HistoryUnavailableError until it is open."""
        if self._store is None:
            raise HistoryUnavailableError
        return self._store

    async def add(self, record: HistoryRecord) -> bool:
        """Return whether the record is committed within `COMMIT_TIMEOUT`."""
        if self._failing or self._closing.is_set():
            return False
        if not self.opened.is_set():
            if len(self._pending) < MAX_EARLY_RECORDS:
                self._pending.append((record, None))
            return False
        committed: asyncio.Future[bool] = self._loop.create_future()
        self._pending.append((record, committed))
        if not self._busy:
            self._busy = True
            self._loop.call_soon(self._commit_next)  # with other records of this iteration
        timer = self._loop.call_later(COMMIT_TIMEOUT, self._time_out, committed)
        try:
            return await committed
        finally:
            timer.cancel()

    async def close(self) -> None:
        """Commit pending records and end the thread, within `_CLOSE_TIMEOUT`."""
        self._closing.set()
        for start in range(0, len(self._pending), _GROUP_SIZE):
            self._queue.put(self._pending[start : start + _GROUP_SIZE])
        self._pending = []
        self._queue.put([])
        await asyncio.to_thread(self._thread.join, _CLOSE_TIMEOUT)
        if self._store is not None and not self._thread.is_alive():
            self._store.close()

    def _commit_next(self) -> None:
        """Commit the next group, or hand it to the thread."""
        group, self._pending = self._pending[:_GROUP_SIZE], self._pending[_GROUP_SIZE:]
        if group and not self._commit_now(group):
            self._queue.put(group)
            return
        self._busy = bool(self._pending)
        if self._busy:
            self._loop.call_soon(self._commit_next)

    def _commit_now(self, group: list[_Item]) -> bool:
        """Commit a group on the event loop if that is fast; return whether it is committed."""
        self._groups += 1
        started = self._loop.time()
        if started < self._slow_until or self._groups % _CHECKPOINT_INTERVAL == 0:
            return False
        if not self.store.add_now([record for record, _ in group]):
            return False
        if self._loop.time() - started > _MAX_SECONDS:
            self._slow_until = self._loop.time() + _SLOW_DISK_PAUSE
        _set_results([(committed, True) for _, committed in group if committed])
        return True

    def _time_out(self, committed: asyncio.Future[bool]) -> None:
        if not committed.done():
            self._fail("the commit timed out")
            committed.set_result(False)

    def _fail(self, reason: str) -> None:
        if not self._failing:
            log.warning("classifications are not stored: %s", reason)
        self._failing = True

    def _recover(self) -> None:
        if self._failing:
            log.warning("classifications are stored again")
        self._failing = False

    def _resolve(self, outcomes: Sequence[_Outcome], failure: str = "") -> None:
        """Set the results of waiting requests; `failure` is the reason of a failed commit."""
        if failure:
            self._fail(failure)
        else:
            self._recover()
            self._commit_next()
        _set_results(outcomes)

    def _run(self) -> None:
        store = self._open()
        while store and (group := self._queue.get()):
            self._commit(store, group)

    def _open(self) -> "Store | None":
        """Open the database, with retries; return None if the writer is closed first."""
        while not self._closing.is_set():
            try:
                store = self._open_store()
                store.prepare()
            except Exception as error:
                self._on_loop(self._fail, _message(error))
                self._on_loop(self.attempted.set)
                self._closing.wait(_RETRY_DELAY)
            else:
                self._store = store
                for call in (self._recover, self.opened.set, self.attempted.set, self._commit_next):
                    self._on_loop(call)
                return store
        return None

    def _commit(self, store: "Store", group: list[_Item]) -> None:
        while True:
            waiting = [(record["id"], committed) for record, committed in group if committed]
            try:
                rejected = store.add([record for record, _ in group])
            except Exception as error:
                outcomes = [(committed, False) for _, committed in waiting]
                self._on_loop(self._resolve, outcomes, _message(error))
                group = [(record, None) for record, _ in group]
            else:
                outcomes = [(committed, id_ not in rejected) for id_, committed in waiting]
                self._on_loop(self._resolve, outcomes)
                return
            if self._closing.wait(_RETRY_DELAY):
                return
            with suppress(HistoryUnavailableError):
                store.prepare()  # the database may be a new, empty one

    def _on_loop(self, callback: Callable[..., None], *args: object) -> None:
        with suppress(RuntimeError):  # the loop has ended
            self._loop.call_soon_threadsafe(callback, *args)


def _set_results(outcomes: Sequence[_Outcome]) -> None:
    for committed, is_stored in outcomes:
        if not committed.done():
            committed.set_result(is_stored)


def _message(error: BaseException) -> str:
    """Return the root cause of `error` on one line."""
    while error.__cause__ is not None:
        error = error.__cause__
    return " ".join(f"{type(error).__name__}: {error}".split())
