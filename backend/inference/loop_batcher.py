"""Micro-batcher of cheap items that runs them on the event loop, without a hand-over to a thread.

The items that arrive in one turn of the loop are a batch. A batch holds the loop for about
MAX_SECONDS at most; the other items wait for the next turn, so that the loop handles input and
output in between. The queue is fair between clients.
"""

import asyncio
import time
from collections.abc import Callable, Hashable, Sequence
from typing import Final, Generic, TypeVar

from backend.inference.batcher import (
    NO_DEADLINE,
    Batch,
    Entry,
    deadline_error,
    make_room,
    set_results,
)
from backend.inference.errors import ClosedError
from backend.inference.fair_queue import FairQueue
from backend.inference.observer import BatchReason

T = TypeVar("T")
P = TypeVar("P")
R = TypeVar("R")

MAX_SECONDS: Final = 0.003  # for which a batch holds the event loop


class LoopBatcher(Generic[T, P, R]):
    """Calls `prepare` for each submitted item and `run` for the batch. Use it from one event loop.

    Items that were cancelled or whose deadline passed while they were queued are dropped before
    `prepare`. An item for which `prepare` raises an exception fails alone.

    Parameters
    ----------
    prepare : takes an item and returns what `run` needs
    run : takes a Batch and returns one result or exception per prepared item, in order
    seconds : returns the estimated seconds of `run` per item
    max_batch : maximum number of items of a batch
    queue_size : maximum number of queued items
    """

    def __init__(
        self,
        prepare: Callable[[T], P],
        run: Callable[[Batch[P]], Sequence[R | Exception]],
        seconds: Callable[[], float],
        *,
        max_batch: int = 32,
        queue_size: int = 512,
    ) -> None:
        self._prepare = prepare
        self._run = run
        self._seconds = seconds
        self._max_batch = max_batch
        self._queue_size = queue_size
        self._entries: FairQueue[Entry[T, R]] = FairQueue()
        self._is_scheduled = False
        self._closed = False

    @property
    def queued(self) -> int:
        """Number of items whose batch has not started."""
        return len(self._entries)

    def submit(
        self,
        item: T,
        deadline: float = NO_DEADLINE,
        client: Hashable = "",
        cost: float = 1.0,
    ) -> asyncio.Future[R]:
        """Queue an item and return the future of its result, as `Batcher.submit` does."""
        if self._closed:
            raise ClosedError
        make_room(self._entries, self._queue_size)
        loop = asyncio.get_running_loop()
        entry = Entry[T, R](item, deadline, loop, loop.create_future())
        self._entries.push(entry, client, cost)
        if not self._is_scheduled:
            self._is_scheduled = True
            loop.call_soon(self._run_batch, loop)
        return entry.future

    def close(self) -> None:
        """Accept no more items. Those that are queued are finished in the next turns."""
        self._closed = True

    def _run_batch(self, loop: asyncio.AbstractEventLoop) -> None:
        try:
            entries, prepared = self._take_batch()
            if entries:
                self._process(entries, prepared)
        finally:
            self._is_scheduled = bool(self._entries)
            if self._is_scheduled:
                loop.call_soon(self._run_batch, loop)

    def _take_batch(self) -> tuple[list[Entry[T, R]], list[P]]:
        """Prepare as many items as the time allows, and return them with their entries."""
        entries: list[Entry[T, R]] = []
        prepared: list[P] = []
        seconds = self._seconds()
        now = time.perf_counter()
        end = now + MAX_SECONDS
        while (
            self._entries and len(entries) < self._max_batch and now < end - seconds * len(entries)
        ):
            entry = self._entries.peek()
            if entry.future.done() or entry.deadline <= now:
                self._entries.pop(free=True)
                set_results([(entry, deadline_error())])
                continue
            self._entries.pop()
            try:
                prepared.append(self._prepare(entry.item))
            except Exception as error:
                set_results([(entry, error)])
            else:
                entries.append(entry)
            now = time.perf_counter()
        return entries, prepared

    def _process(self, entries: list[Entry[T, R]], prepared: list[P]) -> None:
        reason: BatchReason = "partial"
        if len(entries) == self._max_batch:
            reason = "full"
        elif len(entries) == 1 and not self._entries:
            reason = "single"
        results: Sequence[R | Exception]
        try:
            results = self._run(Batch(prepared, reason))
        except Exception as error:
            results = [error] * len(entries)
        set_results(list(zip(entries, results, strict=True)))
