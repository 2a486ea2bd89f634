"""A bounded, work-conserving micro-batcher over any callable.

While the callable is idle, what is queued goes at once, alone if it is alone; while it is busy,
arrivals gather, up to `max_batch` rows. There is no waiting window.
"""

import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from backend.inference.errors import ClosedError, QueueFullError
from backend.inference.types import Floats


@dataclass(frozen=True, slots=True)
class Batched:
    """The rows that came out for one item, and the seconds it waited and ran."""

    outputs: Floats
    queue: float
    inference: float


@dataclass(slots=True)
class _Item:
    rows: Floats
    future: Future[Batched] = field(default_factory=Future)
    arrived: float = field(default_factory=time.perf_counter)


class Batcher:
    """Feeds `run`, a function from (N, ...) to (N, ...), from one thread of its own.

    `queue_size` bounds the items that wait. An item that was cancelled while it waited costs no
    forward pass, and one that makes `run` fail fails alone.
    """

    def __init__(
        self, run: Callable[[Floats], Floats], *, max_batch: int = 32, queue_size: int = 256
    ) -> None:
        self._run = run
        self._max_batch: Final = max_batch
        self._queue_size: Final = queue_size
        self._items: deque[_Item] = deque()
        self._changed = threading.Condition()
        self._closed = False
        self._thread = threading.Thread(target=self._loop, name="prism-batcher", daemon=True)
        self._thread.start()

    def submit(self, rows: Floats) -> Future[Batched]:
        """Queue an item of shape (n, ...), n rows that stay together.

        Raises QueueFullError at once where `queue_size` items wait, ClosedError after `close`.
        """
        item = _Item(rows)
        with self._changed:
            if self._closed:
                raise ClosedError("The service is shutting down. Send the request again.")
            if len(self._items) >= self._queue_size:
                raise QueueFullError("Too many pictures are waiting. Try again in a moment.")
            self._items.append(item)
            self._changed.notify()
        return item.future

    def close(self) -> None:
        """Take no more items, finish those that wait, and stop the thread."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join()

    def _loop(self) -> None:
        while batch := self._next():
            self._serve(batch)

    def _next(self) -> list[_Item]:
        """Wait for work and take as much as fits; nothing only when closed and empty."""
        batch: list[_Item] = []
        with self._changed:
            while not batch:
                while not self._items:
                    if self._closed:
                        return []
                    self._changed.wait()
                self._take(batch)
        return batch

    def _take(self, batch: list[_Item]) -> None:
        rows = 0
        while self._items and (not batch or rows + len(self._items[0].rows) <= self._max_batch):
            item = self._items.popleft()
            if item.future.set_running_or_notify_cancel():
                batch.append(item)
                rows += len(item.rows)

    def _serve(self, batch: list[_Item]) -> None:
        started = time.perf_counter()
        try:
            outputs = self._run(np.concatenate([item.rows for item in batch]))
        except Exception as error:
            if len(batch) == 1:
                batch[0].future.set_exception(error)
                return
            for item in batch:
                self._serve([item])
            return
        seconds = time.perf_counter() - started
        start = 0
        for item in batch:
            end = start + len(item.rows)
            item.future.set_result(Batched(outputs[start:end], started - item.arrived, seconds))
            start = end
