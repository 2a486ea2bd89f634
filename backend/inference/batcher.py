"""A bounded, work-conserving micro-batcher over any callable.

While a runner is idle, what is queued goes at once, alone if it is alone; while all are busy,
arrivals gather, up to `max_batch`. There is no waiting window.
"""

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import groupby
from typing import Final, Generic, Literal, TypeVar

from backend.inference.errors import ClosedError, DeadlineError, QueueFullError

T = TypeVar("T")
R = TypeVar("R")

Reason = Literal["single", "partial", "full"]

FOREVER: Final = float("inf")


@dataclass(frozen=True, slots=True)
class Batch(Generic[T]):
    """What one runner works on, and why it went: alone, all that had gathered, or a full batch.

    `single` says that nobody else was running or waiting at that moment.
    """

    items: list[T]
    reason: Reason
    is_wanted: Callable[[int], bool] = lambda _: True  # by its place: not given up meanwhile

    @property
    def alone(self) -> bool:
        """Whether all cores are this batch's."""
        return self.reason == "single"


@dataclass(slots=True)
class _Entry(Generic[T, R]):
    item: T
    expires: float
    loop: asyncio.AbstractEventLoop
    future: asyncio.Future[R]


class Batcher(Generic[T, R]):
    """Feeds `run` from `runners` threads of its own.

    `run` takes a Batch and gives one answer, or one exception, for each of its items, in order.
    `max_batch` bounds what its items `weigh` together, unless one alone is heavier. `queue_size`
    bounds the items that wait. An item that was cancelled or whose time is over
    while it waited is never run, and its batch-mates do not notice.
    """

    def __init__(
        self,
        run: Callable[[Batch[T]], Sequence[R | Exception]],
        *,
        runners: int = 1,
        max_batch: int = 32,
        queue_size: int = 512,
        weigh: Callable[[T], int] = lambda _: 1,
    ) -> None:
        self._run = run
        self._weigh = weigh
        self._queue_size: Final = queue_size
        self._entries: deque[_Entry[T, R]] = deque()
        self._changed = threading.Condition()
        self._closed = False
        self._busy = 0  # runners that work
        self._wanted = 0  # runners that there should be
        self._alive: set[int] = set()  # their numbers; one that is not wanted ends
        self._threads: list[threading.Thread] = []
        self._max_batch = max_batch
        self.resize(runners, max_batch)

    @property
    def waiting(self) -> int:
        """Items that no runner has taken yet."""
        return len(self._entries)

    @property
    def busy(self) -> bool:
        """Whether a runner works or an item waits."""
        return self._busy > 0 or bool(self._entries)

    def submit(self, item: T, expires: float = FOREVER) -> asyncio.Future[R]:
        """Queue an item from the running event loop; cancelling the future gives it up.

        After `expires`, in seconds of `time.perf_counter`, it is not run any more and fails with
        DeadlineError. Raises QueueFullError at once where `queue_size` items wait, ClosedError
        after `close`.
        """
        loop = asyncio.get_running_loop()
        entry = _Entry[T, R](item, expires, loop, loop.create_future())
        with self._changed:
            if self._closed:
                raise ClosedError
            if len(self._entries) >= self._queue_size:
                self._entries = deque(one for one in self._entries if not one.future.done())
            if len(self._entries) >= self._queue_size:
                raise QueueFullError("Too many pictures are waiting. Try again in a moment.")
            self._entries.append(entry)
            self._changed.notify()
        return entry.future

    def resize(self, runners: int, max_batch: int) -> None:
        """Work with another number of runners and another largest batch from now on."""
        with self._changed:
            if self._closed:
                return
            self._max_batch = max_batch
            self._wanted = runners
            for number in set(range(runners)) - self._alive:
                self._alive.add(number)
                self._threads.append(
                    threading.Thread(
                        target=self._work,
                        args=(number,),
                        name=f"prism-runner-{number}",
                        daemon=True,
                    )
                )
                self._threads[-1].start()
            self._changed.notify_all()

    def close(self) -> None:
        """Take no more items, finish those that wait, and stop the threads."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        for thread in self._threads:
            thread.join()

    def _work(self, number: int) -> None:
        while entries := self._next(number):
            self._serve(*entries)

    def _next(self, number: int) -> tuple[list[_Entry[T, R]], Reason] | None:
        """Wait for work and take what is due; nothing when closed and empty, or not wanted."""
        with self._changed:
            while number < self._wanted:
                if not self._entries:
                    if self._closed:
                        break
                    self._changed.wait()
                    continue
                batch = self._take()
                if batch[0]:
                    self._busy += 1
                    return batch
            self._alive.discard(number)
            self._changed.notify()  # what woke this runner is for another one
            return None

    def _take(self) -> tuple[list[_Entry[T, R]], Reason]:
        """Take this runner's share: what waits is spread over the runners that are free."""
        free = max(self._wanted - self._busy, 1)
        share = min(-(-len(self._entries) // free), self._max_batch)
        taken: list[_Entry[T, R]] = []
        weight = 0
        now = time.perf_counter()
        while self._entries and len(taken) < share:
            entry = self._entries[0]
            if entry.future.done() or entry.expires <= now:
                self._entries.popleft()
                _hand_over(entry.loop, [(entry, _late())])
                continue
            weight += self._weigh(entry.item)
            if taken and weight > self._max_batch:
                break
            taken.append(self._entries.popleft())
        if len(taken) == 1 and not self._busy and not self._entries:
            return taken, "single"
        return taken, "full" if len(taken) == self._max_batch else "partial"

    def _serve(self, entries: list[_Entry[T, R]], reason: Reason) -> None:
        answers: Sequence[R | Exception]
        try:
            items = [entry.item for entry in entries]
            answers = self._run(Batch(items, reason, lambda at: not entries[at].future.done()))
        except Exception as error:
            answers = [error] * len(entries)
        finally:
            with self._changed:
                self._busy -= 1  # before anybody hears of it: who asks again then is alone
        pairs = list(zip(entries, answers, strict=True))
        for loop, group in groupby(pairs, key=lambda pair: pair[0].loop):
            _hand_over(loop, list(group))


def _hand_over(
    loop: asyncio.AbstractEventLoop, answers: Sequence[tuple[_Entry[T, R], R | Exception]]
) -> None:
    with suppress(RuntimeError):  # the loop has ended, and with it whoever waited
        loop.call_soon_threadsafe(_deliver, answers)


def _deliver(answers: Sequence[tuple[_Entry[T, R], R | Exception]]) -> None:
    for entry, answer in answers:
        if entry.future.done():  # its caller has gone
            continue
        if isinstance(answer, Exception):
            entry.future.set_exception(answer)
        else:
            entry.future.set_result(answer)


def _late() -> DeadlineError:
    return DeadlineError("The picture waited longer than it may. Try again in a moment.")
