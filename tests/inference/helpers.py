"""Helpers of tests of the batcher: work to run, and waiting for conditions instead of times."""

import asyncio
import threading
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

from backend.inference.batcher import Batch, Batcher

T = TypeVar("T")

TIMEOUT = 30  # seconds to wait for a condition that normally holds at once
FAILING_ITEM = -13
FAILING_BATCH_ITEM = -666


class DoublingWork:
    """Doubles its items after `release` is set, and records its batches.

    FAILING_ITEM fails alone, FAILING_BATCH_ITEM fails its whole batch.
    """

    def __init__(self, *, blocked: bool = False) -> None:
        self.batches: list[Batch[int]] = []
        self.release = threading.Event()
        if not blocked:
            self.release.set()

    def __call__(self, batch: Batch[int]) -> Sequence[int | Exception]:
        self.batches.append(batch)
        assert self.release.wait(TIMEOUT)
        if FAILING_BATCH_ITEM in batch.items:
            raise RuntimeError("batch failed")
        return [
            ValueError("item failed") if item == FAILING_ITEM else 2 * item for item in batch.items
        ]

    @property
    def items(self) -> list[list[int]]:
        return [batch.items for batch in self.batches]

    @property
    def reasons(self) -> list[str]:
        return [batch.reason for batch in self.batches]


@contextmanager
def run_batcher(
    work: Callable[[Batch[int]], Sequence[int | Exception]], **options: Any
) -> Iterator[Batcher[int, int]]:
    """Yield a batcher of `work`; release blocked work and close the batcher at the end."""
    batcher = Batcher[int, int](work, **options)
    try:
        yield batcher
    finally:
        if isinstance(work, DoublingWork):
            work.release.set()
        batcher.close()


async def gather_results(*futures: Awaitable[T]) -> list[T]:
    """Return all results, in order."""
    async with asyncio.timeout(TIMEOUT):
        return list(await asyncio.gather(*futures))


async def gather_outcomes(*futures: Awaitable[T]) -> list[T | BaseException]:
    """Return all results and exceptions, in order."""
    async with asyncio.timeout(TIMEOUT):
        return list(await asyncio.gather(*futures, return_exceptions=True))


async def wait_until(condition: Callable[[], Any]) -> None:
    """Wait until `condition` holds."""
    async with asyncio.timeout(TIMEOUT):
        while not condition():  # noqa: ASYNC110 - the condition changes in threads
            await asyncio.sleep(0.001)
