"""Decoding of images that cost much time or memory, apart from all others.

An ordinary image must not wait for a large one, so no runner decodes large images. They have their
own threads and their own queue, shared by all models, and at most half of the threads while
ordinary images are in flight.
"""

import threading
import time
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, TypeVar

from backend.inference.admission import Admission
from backend.inference.batcher import NO_DEADLINE, Batch, Batcher
from backend.inference.images.decoding_cost import DecodingCost
from backend.inference.images.image_reader import ImageReader, MemoryExceededError

T = TypeVar("T")

_MAX_SECONDS: Final = 0.05  # of decoding an ordinary image
_MAX_MEMORY: Final = 32_000_000  # bytes of decoding an ordinary image
_MEMORY_SHARE: Final = 32  # divisor of the decoding memory that the threads of a model share
_QUEUE_SIZE: Final = 256
# Large images of one client wait in one queue each, by cost: its photographs do not wait for
# images of 50 megapixels from the same address.
_COST_CLASSES: Final = (0.15, 0.6)  # seconds


@dataclass(frozen=True, slots=True, eq=False)
class _Job:
    work: Callable[[], Any]
    memory: int


class LargeImages:
    """Runs the decoding of large images, fair between clients. Use it from one event loop."""

    def __init__(self, reader: ImageReader, threads: int) -> None:
        self._budget = reader.budget
        self._threads = threads
        # Every runner may decode an ordinary image meanwhile, without reserving its memory.
        self.ordinary_memory: Final = min(
            _MAX_MEMORY, self._budget.total // (_MEMORY_SHARE * threads)
        )
        self._lock = threading.Lock()
        self._running: set[_Job] = set()
        self._ordinary = 0
        self._admission = Admission(_QUEUE_SIZE, _COST_CLASSES[-1])
        self._batcher: Batcher[_Job, Any] = Batcher(
            self._run,
            runners=threads,
            max_batch=1,
            queue_size=_QUEUE_SIZE,
            may_start=self._try_start,
            on_stuck=self._end,
            name="prism-large",
        )
        self._budget.on_release(self._batcher.wake)

    @property
    def queued(self) -> int:
        """Number of images whose decoding has not started."""
        return self._batcher.queued

    def is_large(self, cost: DecodingCost) -> bool:
        """Return whether an image of this cost is decoded here."""
        return (
            not cost.is_certain or cost.seconds > _MAX_SECONDS or cost.memory > self.ordinary_memory
        )

    def require_capacity(
        self, cost: DecodingCost, time_limit: float | None, client: Hashable = ""
    ) -> None:
        """Raise WorkRejectedError unless an image would be decoded within `time_limit` seconds."""
        self._admission.require(time_limit, _flow(client, cost), cost.seconds)

    async def decode(
        self,
        work: Callable[[int], T],
        cost: DecodingCost,
        client: Hashable = "",
        deadline: float = NO_DEADLINE,
    ) -> T:
        """Return `work(reserved)`, which decodes an image in a thread with `reserved` bytes.

        Cancelling the call drops work that has not started. If `work` raises MemoryExceededError,
        it is called again with more. Raise DeadlineError after `deadline`, in seconds of
        `time.perf_counter`; QueueFullError or ClosedError if no work is accepted.
        """
        seconds = cost.seconds
        flow = _flow(client, cost)
        with self._admission.track(flow, seconds):
            try:
                return await self._submit(work, cost.memory, flow, seconds, deadline)
            except MemoryExceededError as error:
                return await self._submit(work, error.needed, flow, seconds, deadline)

    @contextmanager
    def ordinary_image(self, is_ordinary: bool = True) -> Iterator[None]:
        """Count an image, if it is an ordinary one, while it is in flight."""
        self._ordinary += is_ordinary
        try:
            yield
        finally:
            self._ordinary -= is_ordinary
            if not self._ordinary and self.queued:
                self._batcher.wake()

    def close(self) -> None:
        """Finish queued work and stop the threads."""
        self._batcher.close()

    async def _submit(
        self,
        work: Callable[[int], T],
        memory: int,
        flow: Hashable,
        seconds: float,
        deadline: float,
    ) -> T:
        # Memory beyond the budget is reserved as all of it, when no other large image is decoded.
        job = _Job(partial(self._measure, partial(work, memory), flow, seconds), memory)
        result: T = await self._batcher.submit(job, deadline, flow, seconds)
        return result

    def _measure(self, work: Callable[[], T], flow: Hashable, seconds: float) -> T:
        """Run `work`, and charge the client for the time that it took, not for the estimate."""
        started = time.perf_counter()
        try:
            return work()
        finally:
            self._batcher.charge(flow, time.perf_counter() - started - seconds)

    def _try_start(self, job: _Job) -> bool:
        with self._lock:
            limit = max(1, self._threads // 2) if self._ordinary else self._threads
            if len(self._running) >= limit or not self._budget.try_reserve(job.memory):
                return False
            self._running.add(job)
            return True

    def _end(self, job: _Job) -> None:
        """Free the place and the memory of a job that has returned, or that never will.

        The latter still uses its memory. If it kept it, no large image might start any more.
        """
        with self._lock:
            if job not in self._running:
                return
            self._running.remove(job)
        self._budget.release(job.memory)  # wakes the batcher

    def _run(self, batch: Batch[_Job]) -> Sequence[Any]:
        (job,) = batch.items
        try:
            return [job.work()]
        except Exception as error:
            return [error]
        finally:
            self._end(job)


def _flow(client: Hashable, cost: DecodingCost) -> Hashable:
    return client, sum(cost.seconds > limit for limit in _COST_CLASSES)
