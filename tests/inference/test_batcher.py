"""Batcher: results in order, batch sizes, queue limit, cancellation and deadlines."""

import asyncio
import threading
import time

import pytest

from backend.inference.batcher import Batcher
from backend.inference.errors import ClosedError, DeadlineError, QueueFullError
from tests.inference.helpers import (
    FAILING_BATCH_ITEM,
    FAILING_ITEM,
    TIMEOUT,
    DoublingWork,
    gather_outcomes,
    gather_results,
    run_batcher,
    wait_until,
)

pytestmark = pytest.mark.anyio


async def submit_blocking_item(
    batcher: Batcher[int, int], work: DoublingWork
) -> asyncio.Future[int]:
    """Submit the item 0 and wait until it is running."""
    first = batcher.submit(0)
    await wait_until(lambda: work.batches)
    return first


async def test_each_caller_gets_its_own_result() -> None:
    with run_batcher(DoublingWork(), max_batch=8, runners=3) as batcher:
        results = await gather_results(*(batcher.submit(i) for i in range(300)))
    assert results == [2 * i for i in range(300)]


async def test_single_items_run_immediately() -> None:
    work = DoublingWork()
    with run_batcher(work, runners=2) as batcher:
        assert [await gather_results(batcher.submit(i)) for i in (1, 2, 3)] == [[2], [4], [6]]
    assert work.items == [[1], [2], [3]]
    assert work.reasons == ["single"] * 3
    assert all(batch.is_single for batch in work.batches)


async def test_items_gather_up_to_max_batch_while_runner_is_busy() -> None:
    work = DoublingWork(blocked=True)
    with run_batcher(work, max_batch=3) as batcher:
        futures = [
            await submit_blocking_item(batcher, work),
            *(batcher.submit(i) for i in range(1, 6)),
        ]
        assert batcher.queued == 5
        work.release.set()
        assert await gather_results(*futures) == [0, 2, 4, 6, 8, 10]
    assert work.items == [[0], [1, 2, 3], [4, 5]]
    assert work.reasons == ["single", "full", "partial"]


async def test_item_is_not_single_while_another_is_running() -> None:
    work = DoublingWork(blocked=True)
    with run_batcher(work, runners=2) as batcher:
        first = await submit_blocking_item(batcher, work)
        second = batcher.submit(1)
        await wait_until(lambda: len(work.batches) == 2)
        work.release.set()
        assert await gather_results(first, second) == [0, 2]
    assert work.reasons == ["single", "partial"]


async def test_is_busy_until_last_result() -> None:
    work = DoublingWork(blocked=True)
    with run_batcher(work) as batcher:
        await wait_until(lambda: not batcher.is_busy)
        first = await submit_blocking_item(batcher, work)
        await wait_until(lambda: batcher.is_busy)
        work.release.set()
        await gather_results(first)
        await wait_until(lambda: not batcher.is_busy)


async def test_full_queue_raises_queue_full_error() -> None:
    work = DoublingWork(blocked=True)
    with run_batcher(work, queue_size=2) as batcher:
        await submit_blocking_item(batcher, work)
        waiting = [batcher.submit(1), batcher.submit(2)]
        with pytest.raises(QueueFullError):
            batcher.submit(3)
        work.release.set()
        assert await gather_results(*waiting) == [2, 4]
        assert await gather_results(batcher.submit(4)) == [8]


async def test_cancelled_queued_item_is_not_run() -> None:
    work = DoublingWork(blocked=True)
    with run_batcher(work) as batcher:
        await submit_blocking_item(batcher, work)
        cancelled, pending = batcher.submit(1), batcher.submit(2)
        assert cancelled.cancel()
        work.release.set()
        assert await gather_results(pending) == [4]
    assert work.items == [[0], [2]]


async def test_cancelling_running_item_does_not_affect_others() -> None:
    work = DoublingWork(blocked=True)
    with run_batcher(work) as batcher:
        first = await submit_blocking_item(batcher, work)
        others = [batcher.submit(i) for i in (1, 2, 3)]
        first.cancel()
        work.release.set()
        assert await gather_results(*others) == [2, 4, 6]
        others = [batcher.submit(i) for i in (4, 5)]
        assert await gather_results(*others) == [8, 10]


async def test_expired_item_raises_deadline_error_and_is_not_run() -> None:
    work = DoublingWork(blocked=True)
    with run_batcher(work) as batcher:
        await submit_blocking_item(batcher, work)
        now = time.perf_counter()
        expired, pending = batcher.submit(1, now), batcher.submit(2, now + 10 * TIMEOUT)
        work.release.set()
        assert await gather_results(pending) == [4]
        with pytest.raises(DeadlineError):
            await gather_results(expired)
    assert work.items == [[0], [2]]


async def test_queue_of_cancelled_and_expired_items_is_skipped() -> None:
    work = DoublingWork(blocked=True)
    with run_batcher(work, max_batch=2) as batcher:
        await submit_blocking_item(batcher, work)
        for i in range(1, 6):
            batcher.submit(i).cancel()
        expired = [batcher.submit(i, time.perf_counter()) for i in range(6, 9)]
        work.release.set()
        results = await gather_outcomes(*expired)
        assert {type(result) for result in results} == {DeadlineError}
        assert await gather_results(batcher.submit(9)) == [18]
    assert work.items == [[0], [9]]


async def test_failing_item_does_not_affect_its_batch() -> None:
    work = DoublingWork(blocked=True)
    with run_batcher(work) as batcher:
        await submit_blocking_item(batcher, work)
        good, bad, fine = (batcher.submit(i) for i in (1, FAILING_ITEM, 2))
        work.release.set()
        assert await gather_results(good, fine) == [2, 4]
        with pytest.raises(ValueError, match="item failed"):
            await gather_results(bad)
    assert work.items == [[0], [1, FAILING_ITEM, 2]]


async def test_exception_fails_the_batch_but_not_the_next_one() -> None:
    work = DoublingWork(blocked=True)
    with run_batcher(work) as batcher:
        await submit_blocking_item(batcher, work)
        batch = [batcher.submit(i) for i in (1, FAILING_BATCH_ITEM, 2)]
        work.release.set()
        results = await gather_outcomes(*batch)
        assert [str(result) for result in results] == ["batch failed"] * 3
        assert await gather_results(batcher.submit(3)) == [6]
        await wait_until(lambda: not batcher.is_busy)


async def test_close_finishes_queued_items_and_rejects_new_ones() -> None:
    work = DoublingWork(blocked=True)
    batcher = Batcher[int, int](work, max_batch=2)
    futures = [await submit_blocking_item(batcher, work), *(batcher.submit(i) for i in (1, 2, 3))]
    closing = threading.Thread(target=batcher.close)
    closing.start()
    work.release.set()
    assert await gather_results(*futures) == [0, 2, 4, 6]
    closing.join(TIMEOUT)
    assert not closing.is_alive()
    with pytest.raises(ClosedError):
        batcher.submit(4)


@pytest.mark.parametrize("deadline", [float("inf"), 0.0])
async def test_items_of_closed_event_loop_are_ignored(deadline: float) -> None:
    work = DoublingWork(blocked=True)
    with run_batcher(work) as batcher:
        first = await submit_blocking_item(batcher, work)

        async def submit_and_exit() -> None:
            batcher.submit(1, deadline)

        await asyncio.to_thread(asyncio.run, submit_and_exit())
        second = batcher.submit(2)
        work.release.set()
        assert await gather_results(first, second) == [0, 4]
        assert await gather_results(batcher.submit(3)) == [6]


async def test_cancelled_items_free_their_place_in_the_queue() -> None:
    work = DoublingWork(blocked=True)
    with run_batcher(work, queue_size=2) as batcher:
        await submit_blocking_item(batcher, work)
        for cancelled in (batcher.submit(1), batcher.submit(2)):
            cancelled.cancel()
        await gather_results(asyncio.sleep(0))
        pending = batcher.submit(3)
        work.release.set()
        assert await gather_results(pending) == [6]
    assert work.items == [[0], [3]]


async def test_weight_limits_the_batch() -> None:
    work = DoublingWork(blocked=True)
    batcher = Batcher[int, int](work, max_batch=10, weigh=lambda item: item)
    try:
        futures = [
            await submit_blocking_item(batcher, work),
            *(batcher.submit(i) for i in (4, 5, 3, 20, 1)),
        ]
        work.release.set()
        assert await gather_results(*futures) == [0, 8, 10, 6, 40, 2]
    finally:
        work.release.set()
        batcher.close()
    assert work.items == [[0], [4, 5], [3], [20], [1]]


async def test_batch_reports_items_cancelled_while_running() -> None:
    work = DoublingWork(blocked=True)
    with run_batcher(work) as batcher:
        first = await submit_blocking_item(batcher, work)
        assert work.batches[0].is_pending(0)
        first.cancel()
        assert not work.batches[0].is_pending(0)
        work.release.set()


async def test_clients_share_the_queue_by_cost() -> None:
    work = DoublingWork(blocked=True)
    with run_batcher(work, max_batch=1) as batcher:
        futures = [await submit_blocking_item(batcher, work)]
        futures += [batcher.submit(10 + i, client="expensive", cost=5.0) for i in range(4)]
        futures += [batcher.submit(20 + i, client="cheap", cost=1.0) for i in range(4)]
        work.release.set()
        await gather_results(*futures)
    assert [items[0] // 10 for items in work.items[1:7]].count(2) == 4


async def test_wrong_estimate_is_charged_to_the_client() -> None:
    work = DoublingWork(blocked=True)
    with run_batcher(work, max_batch=1) as batcher:
        futures = [await submit_blocking_item(batcher, work)]
        futures += [batcher.submit(10 + i, client="liar", cost=0.01) for i in range(4)]
        batcher.charge("liar", 100.0)
        futures += [batcher.submit(20 + i, client="other", cost=1.0) for i in range(4)]
        work.release.set()
        await gather_results(*futures)
    assert [items[0] // 10 for items in work.items[1:6]].count(2) == 4


async def test_item_that_may_not_start_waits_without_a_runner() -> None:
    work, allowed = DoublingWork(), threading.Event()
    with run_batcher(work, max_batch=1, may_start=lambda _: allowed.is_set()) as batcher:
        futures = [batcher.submit(1), batcher.submit(2)]
        await asyncio.sleep(0.02)
        assert not work.batches
        assert not batcher._runs
        allowed.set()
        batcher.wake()
        assert await gather_results(*futures) == [2, 4]
