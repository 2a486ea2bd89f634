"""Several runners of one batcher, and another number of them."""

import asyncio
import threading
from collections.abc import Sequence

import pytest

from backend.inference.batcher import Batch, Batcher
from tests.inference.helpers import WAIT, Work, running, together, until

pytestmark = pytest.mark.anyio


class Meeting:
    """Answers only where `parties` batches are worked on at the same time."""

    def __init__(self, parties: int) -> None:
        self._all_here = threading.Barrier(parties)

    def __call__(self, batch: Batch[int]) -> Sequence[int | Exception]:
        self._all_here.wait(WAIT)
        return list(batch.items)


def threads() -> int:
    """Runners that there are in this process."""
    return sum(thread.name.startswith("prism-runner-") for thread in threading.enumerate())


async def held(batcher: Batcher[int, int], work: Work, count: int) -> list[asyncio.Future[int]]:
    """Keep `count` runners busy with one item each."""
    futures = []
    for i in range(count):
        futures.append(batcher.submit(i))
        await until(lambda: len(work.batches) == len(futures))
    return futures


async def test_runners_work_at_the_same_time() -> None:
    with running(Meeting(3), runners=3, max_batch=1) as batcher:
        assert await together(*(batcher.submit(i) for i in range(6))) == list(range(6))


async def test_what_waits_is_spread_over_the_free_runners() -> None:
    work = Work(held=True)
    with running(work) as batcher:
        first = await held(batcher, work, 1)
        rest = [batcher.submit(i) for i in range(1, 6)]
        batcher.resize(4, 32)  # three of them are free
        await until(lambda: len(work.batches) == 4)
        work.open.set()
        assert await together(*first, *rest) == [0, 2, 4, 6, 8, 10]
    assert sorted(len(items) for items in work.items) == [1, 1, 2, 2]


async def test_more_runners_take_what_waits_at_once() -> None:
    work = Work(held=True)
    with running(work) as batcher:
        first = await held(batcher, work, 1)
        second = batcher.submit(1)
        batcher.resize(2, 32)
        await until(lambda: work.items == [[0], [1]])
        work.open.set()
        assert await together(*first, second) == [0, 2]


async def test_another_largest_batch_holds_from_the_next_one_on() -> None:
    work = Work(held=True)
    with running(work, max_batch=32) as batcher:
        futures = await held(batcher, work, 1)
        futures += [batcher.submit(i) for i in range(1, 6)]
        batcher.resize(1, 2)
        work.open.set()
        assert await together(*futures) == [0, 2, 4, 6, 8, 10]
    assert work.items == [[0], [1, 2], [3, 4], [5]]


async def test_fewer_runners_end_and_the_others_serve_all() -> None:
    others = threads()
    work = Work()
    with running(work, runners=4) as batcher:
        assert threads() == others + 4
        batcher.resize(1, 32)
        await until(lambda: threads() == others + 1)
        assert await together(*(batcher.submit(i) for i in range(50))) == [2 * i for i in range(50)]
    assert threads() == others


async def test_runners_that_are_busy_when_they_become_too_many_finish_their_work() -> None:
    others = threads()
    work = Work(held=True)
    with running(work, runners=3) as batcher:
        futures = await held(batcher, work, 3)
        waiting = [batcher.submit(i) for i in (3, 4)]
        batcher.resize(1, 32)
        work.open.set()
        assert await together(*futures, *waiting) == [0, 2, 4, 6, 8]
        await until(lambda: threads() == others + 1)


async def test_runners_that_went_come_back() -> None:
    others = threads()
    meeting = Meeting(2)
    with running(meeting, runners=2, max_batch=1) as batcher:
        batcher.resize(1, 1)
        await until(lambda: threads() == others + 1)
        batcher.resize(2, 1)
        assert await together(batcher.submit(1), batcher.submit(2)) == [1, 2]


async def test_runners_that_were_busy_all_the_while_are_not_doubled() -> None:
    others = threads()
    work = Work(held=True)
    with running(work, runners=2) as batcher:
        futures = await held(batcher, work, 2)
        batcher.resize(1, 32)
        batcher.resize(2, 32)
        assert threads() == others + 2
        waiting = [batcher.submit(i) for i in (2, 3)]
        work.open.set()
        assert await together(*futures, *waiting) == [0, 2, 4, 6]
        await until(lambda: not batcher.busy)
        assert threads() == others + 2


async def test_nothing_is_lost_while_the_number_of_runners_changes() -> None:
    with running(Work(), max_batch=4, queue_size=1000) as batcher:
        futures = []
        for i in range(1000):
            futures.append(batcher.submit(i))
            if i % 10 == 0:
                batcher.resize(1 + i // 10 % 4, 1 + i // 10 % 5)
                await asyncio.sleep(0)
        assert await together(*futures) == [2 * i for i in range(1000)]
