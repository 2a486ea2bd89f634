"""The batcher gives everyone their own answer, in few batches, and refuses what does not fit."""

import asyncio
import threading
import time

import pytest

from backend.inference.batcher import Batcher
from backend.inference.errors import ClosedError, DeadlineError, QueueFullError
from tests.inference.helpers import FATAL, UNLUCKY, WAIT, Work, running, settled, together, until

pytestmark = pytest.mark.anyio


async def busy(batcher: Batcher[int, int], work: Work) -> asyncio.Future[int]:
    """Submit the item 0 and wait until it is worked on."""
    first = batcher.submit(0)
    await until(lambda: work.batches)
    return first


async def test_everyone_gets_their_own_answer() -> None:
    with running(Work(), max_batch=8, runners=3) as batcher:
        answers = await together(*(batcher.submit(i) for i in range(300)))
    assert answers == [2 * i for i in range(300)]


async def test_what_comes_alone_goes_at_once_and_alone() -> None:
    work = Work()
    with running(work, runners=2) as batcher:
        assert [await together(batcher.submit(i)) for i in (1, 2, 3)] == [[2], [4], [6]]
    assert work.items == [[1], [2], [3]]
    assert work.reasons == ["single"] * 3
    assert all(batch.alone for batch in work.batches)


async def test_arrivals_gather_while_the_runner_is_busy_up_to_the_largest_batch() -> None:
    work = Work(held=True)
    with running(work, max_batch=3) as batcher:
        futures = [await busy(batcher, work), *(batcher.submit(i) for i in range(1, 6))]
        assert batcher.waiting == 5
        work.open.set()
        assert await together(*futures) == [0, 2, 4, 6, 8, 10]
    assert work.items == [[0], [1, 2, 3], [4, 5]]
    assert work.reasons == ["single", "full", "partial"]


async def test_one_that_comes_while_another_is_inside_is_not_called_alone() -> None:
    work = Work(held=True)
    with running(work, runners=2) as batcher:
        first = await busy(batcher, work)
        second = batcher.submit(1)
        await until(lambda: len(work.batches) == 2)
        work.open.set()
        assert await together(first, second) == [0, 2]
    assert work.reasons == ["single", "partial"]


async def test_it_is_busy_from_the_first_item_to_the_last_answer() -> None:
    work = Work(held=True)
    with running(work) as batcher:
        await until(lambda: not batcher.busy)
        first = await busy(batcher, work)
        await until(lambda: batcher.busy)
        work.open.set()
        await together(first)
        await until(lambda: not batcher.busy)


async def test_a_full_queue_is_refused_at_once() -> None:
    work = Work(held=True)
    with running(work, queue_size=2) as batcher:
        await busy(batcher, work)
        waiting = [batcher.submit(1), batcher.submit(2)]
        with pytest.raises(QueueFullError):
            batcher.submit(3)
        work.open.set()
        assert await together(*waiting) == [2, 4]
        assert await together(batcher.submit(4)) == [8]


async def test_a_cancelled_item_costs_nothing_and_hurts_nobody() -> None:
    work = Work(held=True)
    with running(work) as batcher:
        await busy(batcher, work)
        gone, stays = batcher.submit(1), batcher.submit(2)
        assert gone.cancel()
        work.open.set()
        assert await together(stays) == [4]
    assert work.items == [[0], [2]]


async def test_an_item_that_is_given_up_while_it_is_worked_on_hurts_nobody() -> None:
    work = Work(held=True)
    with running(work) as batcher:
        first = await busy(batcher, work)
        mates = [batcher.submit(i) for i in (1, 2, 3)]
        first.cancel()
        work.open.set()
        assert await together(*mates) == [2, 4, 6]
        mates = [batcher.submit(i) for i in (4, 5)]
        assert await together(*mates) == [8, 10]


async def test_an_item_whose_time_is_over_is_told_so_and_never_worked_on() -> None:
    work = Work(held=True)
    with running(work) as batcher:
        await busy(batcher, work)
        now = time.perf_counter()
        late, stays = batcher.submit(1, now), batcher.submit(2, now + 10 * WAIT)
        work.open.set()
        assert await together(stays) == [4]
        with pytest.raises(DeadlineError):
            await together(late)
    assert work.items == [[0], [2]]


async def test_a_queue_of_nothing_but_given_up_items_is_passed_over() -> None:
    work = Work(held=True)
    with running(work, max_batch=2) as batcher:
        await busy(batcher, work)
        for i in range(1, 6):
            batcher.submit(i).cancel()
        late = [batcher.submit(i, time.perf_counter()) for i in range(6, 9)]
        work.open.set()
        answers = await settled(*late)
        assert {type(answer) for answer in answers} == {DeadlineError}
        assert await together(batcher.submit(9)) == [18]
    assert work.items == [[0], [9]]


async def test_an_item_that_fails_fails_alone() -> None:
    work = Work(held=True)
    with running(work) as batcher:
        await busy(batcher, work)
        good, bad, fine = (batcher.submit(i) for i in (1, UNLUCKY, 2))
        work.open.set()
        assert await together(good, fine) == [2, 4]
        with pytest.raises(ValueError, match="unlucky"):
            await together(bad)
    assert work.items == [[0], [1, UNLUCKY, 2]]


async def test_a_run_that_raises_fails_its_batch_and_the_next_one_is_well() -> None:
    work = Work(held=True)
    with running(work) as batcher:
        await busy(batcher, work)
        batch = [batcher.submit(i) for i in (1, FATAL, 2)]
        work.open.set()
        answers = await settled(*batch)
        assert [str(answer) for answer in answers] == ["all is lost"] * 3
        assert await together(batcher.submit(3)) == [6]
        await until(lambda: not batcher.busy)


async def test_closing_finishes_what_was_accepted_and_takes_no_more() -> None:
    work = Work(held=True)
    batcher = Batcher[int, int](work, max_batch=2)
    futures = [await busy(batcher, work), *(batcher.submit(i) for i in (1, 2, 3))]
    closing = threading.Thread(target=batcher.close)
    closing.start()
    work.open.set()
    assert await together(*futures) == [0, 2, 4, 6]
    closing.join(WAIT)
    assert not closing.is_alive()
    with pytest.raises(ClosedError):
        batcher.submit(4)


@pytest.mark.parametrize("expires", [float("inf"), 0.0])
async def test_an_event_loop_that_has_ended_meanwhile_hurts_nobody(expires: float) -> None:
    work = Work(held=True)
    with running(work) as batcher:
        first = await busy(batcher, work)

        async def leave() -> None:
            batcher.submit(1, expires)

        await asyncio.to_thread(asyncio.run, leave())
        second = batcher.submit(2)
        work.open.set()
        assert await together(first, second) == [0, 4]
        assert await together(batcher.submit(3)) == [6]


async def test_items_that_were_given_up_take_no_place_in_the_queue() -> None:
    work = Work(held=True)
    with running(work, queue_size=2) as batcher:
        await busy(batcher, work)
        for gone in (batcher.submit(1), batcher.submit(2)):
            gone.cancel()
        await together(asyncio.sleep(0))
        stays = batcher.submit(3)
        work.open.set()
        assert await together(stays) == [6]
    assert work.items == [[0], [3]]


async def test_a_batch_holds_no_more_than_its_items_weigh() -> None:
    work = Work(held=True)
    batcher = Batcher[int, int](work, max_batch=10, weigh=lambda item: item)
    try:
        futures = [await busy(batcher, work), *(batcher.submit(i) for i in (4, 5, 3, 20, 1))]
        work.open.set()
        assert await together(*futures) == [0, 8, 10, 6, 40, 2]
    finally:
        work.open.set()
        batcher.close()
    assert work.items == [[0], [4, 5], [3], [20], [1]]


async def test_a_batch_tells_who_gave_up_while_it_runs() -> None:
    work = Work(held=True)
    with running(work) as batcher:
        first = await busy(batcher, work)
        assert work.batches[0].is_wanted(0)
        first.cancel()
        assert not work.batches[0].is_wanted(0)
        work.open.set()
