"""What a batcher runs in tests, and how they wait: for a condition, never for a time to pass."""

import asyncio
import threading
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

from backend.inference.batcher import Batch, Batcher

T = TypeVar("T")

WAIT = 30  # seconds for a condition that comes at once where all is well
UNLUCKY = -13
FATAL = -666


class Work:
    """Doubles its items once it is let; remembers its batches.

    The item UNLUCKY fails alone, FATAL with its whole batch.
    """

    def __init__(self, *, held: bool = False) -> None:
        self.batches: list[Batch[int]] = []
        self.open = threading.Event()
        if not held:
            self.open.set()

    def __call__(self, batch: Batch[int]) -> Sequence[int | Exception]:
        self.batches.append(batch)
        assert self.open.wait(WAIT)
        if FATAL in batch.items:
            raise RuntimeError("all is lost")
        return [ValueError("unlucky") if item == UNLUCKY else 2 * item for item in batch.items]

    @property
    def items(self) -> list[list[int]]:
        return [batch.items for batch in self.batches]

    @property
    def reasons(self) -> list[str]:
        return [batch.reason for batch in self.batches]


@contextmanager
def running(
    work: Callable[[Batch[int]], Sequence[int | Exception]], **options: Any
) -> Iterator[Batcher[int, int]]:
    """A batcher of `work`, closed at the end; what is held is let go before."""
    batcher = Batcher[int, int](work, **options)
    try:
        yield batcher
    finally:
        if isinstance(work, Work):
            work.open.set()
        batcher.close()


async def together(*futures: Awaitable[T]) -> list[T]:
    """All answers, in order."""
    async with asyncio.timeout(WAIT):
        return list(await asyncio.gather(*futures))


async def settled(*futures: Awaitable[T]) -> list[T | BaseException]:
    """All answers and failures, in order."""
    async with asyncio.timeout(WAIT):
        return list(await asyncio.gather(*futures, return_exceptions=True))


async def until(condition: Callable[[], Any]) -> None:
    """Wait until `condition` holds."""
    async with asyncio.timeout(WAIT):
        while not condition():  # noqa: ASYNC110 - what is waited for happens in threads
            await asyncio.sleep(0.001)
