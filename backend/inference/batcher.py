"""Bounded, work-conserving micro-batcher over any callable.

An idle runner takes what is queued at once. While all runners are busy, items gather in batches of
up to `max_batch`. There is no waiting window. The queue is fair between clients. A runner whose
batch does not return is replaced.
"""

import asyncio
import time
from collections.abc import Callable, Hashable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import groupby
from threading import Condition, Thread, current_thread
from typing import Final, Generic, TypeVar

from backend.inference.errors import ClosedError, DeadlineError, PrismError, QueueFullError
from backend.inference.fair_queue import FairQueue
from backend.inference.observer import BatchReason

T = TypeVar("T")
R = TypeVar("R")

NO_DEADLINE: Final = float("inf")
STUCK_SECONDS: Final = 30.0  # after which a batch is not expected to return any more
MAX_REPLACED: Final = 8  # stuck runners of a batcher; they keep their thread and their memory


@dataclass(frozen=True, slots=True)
class Batch(Generic[T]):
    """Items that a runner processes together.

    The `reason` is `single` for one item while no other was queued or running, `full` for
    `max_batch` items, else `partial`. `is_pending` returns whether the item at an index still waits
    for its result, that is, has not been cancelled.
    """

    items: list[T]
    reason: BatchReason
    is_pending: Callable[[int], bool] = lambda _: True

    @property
    def is_single(self) -> bool:
        """Whether the batch may use all processors."""
        return self.reason == "single"


@dataclass(slots=True)
class Entry(Generic[T, R]):
    """A queued item and the future of its result."""

    item: T
    deadline: float
    loop: asyncio.AbstractEventLoop
    future: asyncio.Future[R]
    is_queued: bool = True


@dataclass(slots=True, eq=False)
class _Run(Generic[T, R]):
    """A batch that a runner is processing."""

    number: int
    thread: Thread
    entries: list[Entry[T, R]]
    started: float


class Batcher(Generic[T, R]):
    """Calls `run` with batches of submitted items, from `runners` threads.

    Items that were cancelled or whose deadline passed while they were queued are dropped before
    they reach `run`. This does not affect the other items of the batch.

    Parameters
    ----------
    run : takes a Batch and returns one result or exception per item, in order
    runners : number of threads
    max_batch : maximum total weight of a batch; a single heavier item is a batch of its own
    queue_size : maximum number of queued items
    weigh : returns the weight of an item
    may_start : returns whether an item may start now; the queue waits for an item that may not,
        until `wake` is called. True reserves what the item needs.
    on_stuck : is called with each item of a batch that has not returned for STUCK_SECONDS
    """

    def __init__(
        self,
        run: Callable[[Batch[T]], Sequence[R | Exception]],
        *,
        runners: int = 1,
        max_batch: int = 32,
        queue_size: int = 512,
        weigh: Callable[[T], int] = lambda _: 1,
        may_start: Callable[[T], bool] = lambda _: True,
        on_stuck: Callable[[T], None] = lambda _: None,
        name: str = "prism-runner",
    ) -> None:
        self._run = run
        self._weigh = weigh
        self._may_start = may_start
        self._on_stuck = on_stuck
        self._name = name
        self._queue_size: Final = queue_size
        self._entries: FairQueue[Entry[T, R]] = FairQueue()
        self._changed = Condition()
        self._closed = False
        self._runs: set[_Run[T, R]] = set()
        self._replaced = 0
        self._runner_count = 0
        self._alive: set[int] = set()  # numbers of live runners; one >= _runner_count ends
        self._threads: list[Thread] = []
        self._max_batch = max_batch
        self.resize(runners, max_batch)

    @property
    def queued(self) -> int:
        """Number of items that no runner has taken yet."""
        return len(self._entries)

    @property
    def is_busy(self) -> bool:
        """Whether a runner is working or an item is queued."""
        return bool(self._runs) or bool(self._entries)

    def submit(
        self,
        item: T,
        deadline: float = NO_DEADLINE,
        client: Hashable = "",
        cost: float = 1.0,
    ) -> asyncio.Future[R]:
        """Queue an item from the running event loop and return the future of its result.

        The items of a client are served in order, and clients in proportion to the `cost` of their
        items. Cancelling the future drops the item. After `deadline`, in seconds of
        `time.perf_counter`, a queued item fails with DeadlineError. Raise QueueFullError if
        `queue_size` items are queued, ClosedError after `close`.
        """
        loop = asyncio.get_running_loop()
        entry = Entry[T, R](item, deadline, loop, loop.create_future())
        with self._changed:
            if self._closed:
                raise ClosedError
            self._replace_stuck_runners()
            make_room(self._entries, self._queue_size)
            self._entries.push(entry, client, cost)
            self._changed.notify()
        entry.future.add_done_callback(lambda _: self._forget(entry))
        return entry.future

    def _forget(self, entry: Entry[T, R]) -> None:
        """Free the item of an entry that was cancelled while it was queued, such as an image."""
        if entry.is_queued:
            with self._changed:
                if entry.is_queued:
                    del entry.item

    def charge(self, client: Hashable, cost: float) -> None:
        """Charge a client for an item that cost more than stated, or less if `cost` is negative."""
        with self._changed:
            self._entries.charge(client, cost)

    def wake(self) -> None:
        """Ask `may_start` again."""
        with self._changed:
            self._changed.notify_all()

    def resize(self, runners: int, max_batch: int) -> None:
        """Change the number of runners and the maximum batch size."""
        with self._changed:
            if self._closed:
                return
            self._max_batch = max_batch
            self._runner_count = runners
            self._start_runners()
            self._changed.notify_all()

    def close(self, *, wait: bool = True) -> None:
        """Accept no more items, finish those that are queued, and stop the threads.

        Without `wait`, the queued items fail with ClosedError, and running ones are not awaited.
        """
        with self._changed:
            self._closed = True
            self._replace_stuck_runners()
            threads = list(self._threads) if wait else []
            while not wait and self._entries:
                entry = self._entries.pop()
                _post_results(entry.loop, [(entry, ClosedError())])
            self._changed.notify_all()
        for thread in threads:
            thread.join(STUCK_SECONDS)

    def _start_runners(self) -> None:
        for number in set(range(self._runner_count)) - self._alive:
            self._alive.add(number)
            name = f"{self._name}-{number}"
            thread = Thread(target=self._work, args=(number,), name=name, daemon=True)
            self._threads.append(thread)
            thread.start()

    def _replace_stuck_runners(self) -> None:
        """Fail the batches that do not return, and replace their runners."""
        limit = time.perf_counter() - STUCK_SECONDS
        for run in [each for each in self._runs if each.started < limit]:
            if self._replaced == MAX_REPLACED:
                return
            self._replaced += 1
            self._runs.discard(run)
            self._alive.discard(run.number)
            self._threads.remove(run.thread)
            for entry in run.entries:
                self._on_stuck(entry.item)
                _post_results(entry.loop, [(entry, _stuck_error())])
        self._start_runners()

    def _work(self, number: int) -> None:
        while found := self._wait_for_batch(number):
            if not self._process(*found):
                return
            del found  # frees the images while the runner waits

    def _wait_for_batch(self, number: int) -> tuple[_Run[T, R], BatchReason] | None:
        """Wait for the next batch; return None when the runner has to end."""
        with self._changed:
            while number < self._runner_count:
                if not self._entries:
                    if self._closed:
                        break
                    self._changed.wait()
                    continue
                entries, reason = self._take_batch()
                if entries:
                    run = _Run(number, current_thread(), entries, time.perf_counter())
                    self._runs.add(run)
                    return run, reason
                if self._entries:  # the next item may not start yet
                    self._changed.wait()
            self._alive.discard(number)
            self._changed.notify()  # the wake-up may be meant for another runner
            return None

    def _take_batch(self) -> tuple[list[Entry[T, R]], BatchReason]:
        """Take one runner's share of the queue, which is divided among the idle runners."""
        idle = max(self._runner_count - len(self._runs), 1)
        share = min(-(-len(self._entries) // idle), self._max_batch)
        entries: list[Entry[T, R]] = []
        weight = 0
        now = time.perf_counter()
        while self._entries and len(entries) < share:
            entry = self._entries.peek()
            if entry.future.done() or entry.deadline <= now:
                self._entries.pop(free=True)
                _post_results(entry.loop, [(entry, deadline_error())])
                continue
            weight += self._weigh(entry.item)
            if (entries and weight > self._max_batch) or not self._may_start(entry.item):
                break
            entry.is_queued = False
            entries.append(self._entries.pop())
        if len(entries) == 1 and not self._runs and not self._entries:
            return entries, "single"
        return entries, "full" if len(entries) == self._max_batch else "partial"

    def _process(self, run: _Run[T, R], reason: BatchReason) -> bool:
        """Run a batch and post its results; return whether the runner has not been replaced."""
        entries = run.entries
        results: Sequence[R | Exception]
        try:
            items = [entry.item for entry in entries]
            results = self._run(Batch(items, reason, lambda i: not entries[i].future.done()))
        except Exception as error:
            results = [error] * len(entries)
        finally:
            # Before the results are posted: a client that then sends its next item finds an idle
            # runner, and that item is `single`.
            with self._changed:
                is_current = run in self._runs
                self._runs.discard(run)
                self._replaced -= not is_current  # it was slow, or the process was suspended
        pairs = list(zip(entries, results, strict=True))
        for loop, group in groupby(pairs, key=lambda pair: pair[0].loop):
            _post_results(loop, list(group))
        return is_current


def _post_results(
    loop: asyncio.AbstractEventLoop, results: Sequence[tuple[Entry[T, R], R | Exception]]
) -> None:
    with suppress(RuntimeError):  # the event loop has been closed
        loop.call_soon_threadsafe(set_results, results)


def set_results(results: Sequence[tuple[Entry[T, R], R | Exception]]) -> None:
    """Set results and exceptions, on the event loop. Cancelled items are skipped."""
    for entry, result in results:
        if entry.future.done():  # cancelled
            continue
        if isinstance(result, PrismError):
            # Its frames refer to the image and to this future: a cycle would keep them in memory.
            entry.future.set_exception(result.with_traceback(None))
        elif isinstance(result, Exception):
            entry.future.set_exception(result)
        else:
            entry.future.set_result(result)


def make_room(entries: FairQueue[Entry[T, R]], queue_size: int) -> None:
    """Discard finished entries from a full queue; raise QueueFullError if it is still full."""
    if len(entries) >= queue_size:
        entries.discard(lambda each: each.future.done())
        if len(entries) >= queue_size:
            raise QueueFullError("The queue is full. Try again in a moment.")


def deadline_error() -> DeadlineError:
    """Return the error of an item whose deadline passed while it was queued."""
    return DeadlineError("The deadline passed while the image was queued. Try again in a moment.")


def _stuck_error() -> DeadlineError:
    return DeadlineError("The image took too long and was given up. Send another image.")
