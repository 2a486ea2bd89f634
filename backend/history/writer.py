"""One thread that commits what comes in groups: whoever waits meanwhile shares the next commit.

A group is handed over at a time, and not record by record: to wake a thread costs more than to
store a row.
"""

import asyncio
import logging
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from queue import SimpleQueue
from typing import TYPE_CHECKING, Final

from backend.history.errors import HistoryUnavailableError
from backend.history.record import Record

if TYPE_CHECKING:
    from backend.history.store import Store

log = logging.getLogger("prism.history")

PATIENCE: Final = 0.5  # seconds that an answer waits for its commit, at most
AHEAD: Final = 1000  # records that may wait until the database has been opened
_GROUP: Final = 256  # records of one commit, at most
_PAUSE: Final = 1.0  # seconds until a database that failed is tried again
_END: Final = 2.0  # seconds for the last commit

_Item = tuple[Record, asyncio.Future[bool] | None]


class Writer:
    """Commits records; everything but the thread itself is on one event loop.

    Nobody waits for the first opening: what comes before is committed once it is done. A commit
    that fails is tried again until it works; meanwhile nothing else is taken.
    """

    def __init__(self, open_store: Callable[[], "Store"]) -> None:
        self.tried: Final = asyncio.Event()
        self.opened: Final = asyncio.Event()
        self._open_store = open_store
        self._store: Store | None = None
        self._loop = asyncio.get_running_loop()
        self._pending: list[_Item] = []
        self._queue: SimpleQueue[list[_Item]] = SimpleQueue()  # an empty one is the end
        self._busy = True  # a group is on its way, or will be
        self._failing = False
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="prism-history", daemon=True)
        self._thread.start()

    @property
    def store(self) -> "Store":
        """For those who read; raises HistoryUnavailableError until it is open."""
        if self._store is None:
            raise HistoryUnavailableError
        return self._store

    async def keep(self, record: Record) -> bool:
        """Whether the record is committed, which is waited for a moment."""
        if self._failing or self._closing.is_set():
            return False
        if not self.opened.is_set():
            if len(self._pending) < AHEAD:
                self._pending.append((record, None))
            return False
        kept: asyncio.Future[bool] = self._loop.create_future()
        self._pending.append((record, kept))
        if not self._busy:
            self._busy = True
            self._loop.call_soon(self._hand_over)  # with those that are answered in this moment
        timer = self._loop.call_later(PATIENCE, self._lose_patience, kept)
        try:
            return await kept
        finally:
            timer.cancel()

    async def close(self) -> None:
        """Commit what is there and end the thread, soon in any case."""
        self._closing.set()
        for start in range(0, len(self._pending), _GROUP):
            self._queue.put(self._pending[start : start + _GROUP])
        self._pending = []
        self._queue.put([])
        await asyncio.to_thread(self._thread.join, _END)
        if self._store is not None and not self._thread.is_alive():
            self._store.close()

    def _hand_over(self) -> None:
        """Give the thread what waits for it."""
        group, self._pending = self._pending[:_GROUP], self._pending[_GROUP:]
        self._busy = bool(group)
        if group:
            self._queue.put(group)

    def _lose_patience(self, kept: asyncio.Future[bool]) -> None:
        if not kept.done():
            self._fail("it takes too long")
            kept.set_result(False)

    def _fail(self, why: str) -> None:
        if not self._failing:
            log.warning("answers are not stored: %s", why)
        self._failing = True

    def _recover(self) -> None:
        if self._failing:
            log.warning("answers are stored again")
        self._failing = False

    def _settle(self, outcomes: Sequence[tuple[asyncio.Future[bool], bool]], why: str = "") -> None:
        """Tell those who wait; `why` says what failed, if anything did."""
        if why:
            self._fail(why)
        else:
            self._recover()
            self._hand_over()
        for kept, stored in outcomes:
            if not kept.done():
                kept.set_result(stored)

    def _run(self) -> None:
        store = self._open()
        while store and (group := self._queue.get()):
            self._commit(store, group)

    def _open(self) -> "Store | None":
        """Open the database, however often that has to be tried; None where the end comes first."""
        while not self._closing.is_set():
            try:
                store = self._open_store()
                store.prepare()
            except Exception as error:
                self._on_loop(self._fail, _words(error))
                self._on_loop(self.tried.set)
                self._closing.wait(_PAUSE)
            else:
                self._store = store
                for step in (self._recover, self.opened.set, self.tried.set, self._hand_over):
                    self._on_loop(step)
                return store
        return None

    def _commit(self, store: "Store", group: list[_Item]) -> None:
        while True:
            waiting = [(record["id"], kept) for record, kept in group if kept]
            try:
                refused = store.add([record for record, _ in group])
            except Exception as error:
                self._on_loop(self._settle, [(kept, False) for _, kept in waiting], _words(error))
                group = [(record, None) for record, _ in group]
            else:
                outcomes = [(kept, answer_id not in refused) for answer_id, kept in waiting]
                self._on_loop(self._settle, outcomes)
                return
            if self._closing.wait(_PAUSE):
                return
            with suppress(HistoryUnavailableError):
                store.prepare()  # it may be another, empty one by now

    def _on_loop(self, step: Callable[..., None], *given: object) -> None:
        with suppress(RuntimeError):  # the loop has ended
            self._loop.call_soon_threadsafe(step, *given)


def _words(error: BaseException) -> str:
    """What failed, on one line, in the words of whoever knows best."""
    while error.__cause__ is not None:
        error = error.__cause__
    return " ".join(f"{type(error).__name__}: {error}".split())
