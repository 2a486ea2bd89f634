"""Batcher with several runners, and changes of their number."""

import asyncio
import threading
from collections.abc import Sequence

import pytest

from backend.inference.batcher import Batch, Batcher
from backend.inference.errors import DeadlineError
from tests.inference.helpers import TIMEOUT, DoublingWork, gather_results, run_batcher, wait_until

pytestmark = pytest.mark.anyio


class BarrierWork:
    """Returns its items once `parties` batches run at the same time."""

    def __init__(self, parties: int) -> None:
        self._barrier = threading.Barrier(parties)

    def __call__(self, batch: Batch[int]) -> Sequence[int | Exception]:
        self._barrier.wait(TIMEOUT)
        return list(batch.items)


def count_runner_threads(name: str = "prism-runner") -> int:
    """Return the number of runner threads with this name in this process."""
    return sum(thread.name.startswith(f"{name}-") for thread in threading.enumerate())


async def occupy_runners(
    batcher: Batcher[int, int], work: DoublingWork, count: int
) -> list[asyncio.Future[int]]:
    """Keep `count` runners busy with one item each; return the futures."""
    futures = []
    for i in range(count):
        futures.append(batcher.submit(i))
        await wait_until(lambda: len(work.batches) == len(futures))
    return futures


async def test_runners_run_concurrently() -> None:
    with run_batcher(BarrierWork(3), runners=3, max_batch=1) as batcher:
        assert await gather_results(*(batcher.submit(i) for i in range(6))) == list(range(6))


async def test_queue_is_divided_among_idle_runners() -> None:
    work = DoublingWork(blocked=True)
    with run_batcher(work) as batcher:
        first = await occupy_runners(batcher, work, 1)
        queued = [batcher.submit(i) for i in range(1, 6)]
        batcher.resize(4, 32)  # three of them are idle
        await wait_until(lambda: len(work.batches) == 4)
        work.release.set()
        assert await gather_results(*first, *queued) == [0, 2, 4, 6, 8, 10]
    assert sorted(len(items) for items in work.items) == [1, 1, 2, 2]


async def test_added_runners_take_queued_items_immediately() -> None:
    work = DoublingWork(blocked=True)
    with run_batcher(work) as batcher:
        first = await occupy_runners(batcher, work, 1)
        second = batcher.submit(1)
        batcher.resize(2, 32)
        await wait_until(lambda: work.items == [[0], [1]])
        work.release.set()
        assert await gather_results(*first, second) == [0, 2]


async def test_new_max_batch_applies_to_the_next_batch() -> None:
    work = DoublingWork(blocked=True)
    with run_batcher(work, max_batch=32) as batcher:
        futures = await occupy_runners(batcher, work, 1)
        futures += [batcher.submit(i) for i in range(1, 6)]
        batcher.resize(1, 2)
        work.release.set()
        assert await gather_results(*futures) == [0, 2, 4, 6, 8, 10]
    assert work.items == [[0], [1, 2], [3, 4], [5]]


async def test_removed_runners_end_and_the_rest_serve_all() -> None:
    threads_before = count_runner_threads()
    work = DoublingWork()
    with run_batcher(work, runners=4) as batcher:
        assert count_runner_threads() == threads_before + 4
        batcher.resize(1, 32)
        await wait_until(lambda: count_runner_threads() == threads_before + 1)
        assert await gather_results(*(batcher.submit(i) for i in range(50))) == [
            2 * i for i in range(50)
        ]
    assert count_runner_threads() == threads_before


async def test_removed_busy_runners_finish_their_work() -> None:
    threads_before = count_runner_threads()
    work = DoublingWork(blocked=True)
    with run_batcher(work, runners=3) as batcher:
        futures = await occupy_runners(batcher, work, 3)
        queued = [batcher.submit(i) for i in (3, 4)]
        batcher.resize(1, 32)
        work.release.set()
        assert await gather_results(*futures, *queued) == [0, 2, 4, 6, 8]
        await wait_until(lambda: count_runner_threads() == threads_before + 1)


async def test_removed_runners_can_be_added_again() -> None:
    threads_before = count_runner_threads()
    work = BarrierWork(2)
    with run_batcher(work, runners=2, max_batch=1) as batcher:
        batcher.resize(1, 1)
        await wait_until(lambda: count_runner_threads() == threads_before + 1)
        batcher.resize(2, 1)
        assert await gather_results(batcher.submit(1), batcher.submit(2)) == [1, 2]


async def test_busy_runners_are_not_duplicated_by_resizing() -> None:
    threads_before = count_runner_threads()
    work = DoublingWork(blocked=True)
    with run_batcher(work, runners=2) as batcher:
        futures = await occupy_runners(batcher, work, 2)
        batcher.resize(1, 32)
        batcher.resize(2, 32)
        assert count_runner_threads() == threads_before + 2
        queued = [batcher.submit(i) for i in (2, 3)]
        work.release.set()
        assert await gather_results(*futures, *queued) == [0, 2, 4, 6]
        await wait_until(lambda: not batcher.is_busy)
        assert count_runner_threads() == threads_before + 2


async def test_no_item_is_lost_during_resizing() -> None:
    with run_batcher(DoublingWork(), max_batch=4, queue_size=1000) as batcher:
        futures = []
        for i in range(1000):
            futures.append(batcher.submit(i))
            if i % 10 == 0:
                batcher.resize(1 + i // 10 % 4, 1 + i // 10 % 5)
                await asyncio.sleep(0)
        assert await gather_results(*futures) == [2 * i for i in range(1000)]


async def start_stuck_batch(
    batcher: Batcher[int, int], work: DoublingWork, monkeypatch: pytest.MonkeyPatch
) -> asyncio.Future[int]:
    """Let a runner block on one item; batches that run from now on count as stuck."""
    first = batcher.submit(0)
    await wait_until(lambda: len(work.batches) == 1)
    monkeypatch.setattr("backend.inference.batcher.STUCK_SECONDS", -1.0)
    return first


async def test_runner_whose_batch_does_not_return_is_replaced(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    threads_before = count_runner_threads()
    work = DoublingWork(blocked=True)
    with run_batcher(work) as batcher:
        stuck = await start_stuck_batch(batcher, work, monkeypatch)
        second = batcher.submit(1)
        monkeypatch.undo()
        with pytest.raises(DeadlineError, match="took too long"):
            await asyncio.wait_for(stuck, TIMEOUT)
        await wait_until(lambda: len(work.batches) == 2)  # a new runner takes it
        assert count_runner_threads() == threads_before + 2
        work.release.set()
        assert await gather_results(second) == [2]
        await wait_until(
            lambda: count_runner_threads() == threads_before + 1
        )  # the old runner ends
        assert await gather_results(*(batcher.submit(i) for i in range(4))) == [0, 2, 4, 6]
        assert not batcher.is_busy


async def test_owner_learns_of_stuck_items(monkeypatch: pytest.MonkeyPatch) -> None:
    work = DoublingWork(blocked=True)
    found: list[int] = []
    with run_batcher(work, on_stuck=found.append) as batcher:
        stuck = await start_stuck_batch(batcher, work, monkeypatch)
        second = batcher.submit(1)
        monkeypatch.undo()
        work.release.set()
        await asyncio.gather(stuck, second, return_exceptions=True)
    assert found == [0]


async def test_only_some_stuck_runners_are_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("backend.inference.batcher.MAX_REPLACED", 2)
    threads_before = count_runner_threads()
    work = DoublingWork(blocked=True)
    with run_batcher(work, max_batch=1) as batcher:
        futures = [await start_stuck_batch(batcher, work, monkeypatch)]
        for number in (1, 2):
            futures.append(batcher.submit(number))
            await wait_until(lambda: len(work.batches) == len(futures))
        futures.append(batcher.submit(4))
        assert count_runner_threads() == threads_before + 3
        monkeypatch.undo()
        work.release.set()
        await asyncio.gather(*futures, return_exceptions=True)


async def test_runner_that_returns_late_can_be_replaced_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A process that was suspended returns from all its batches late."""
    monkeypatch.setattr("backend.inference.batcher.MAX_REPLACED", 1)
    work = DoublingWork(blocked=True)
    with run_batcher(work, max_batch=1, name="late") as batcher:
        for _ in range(3):
            work.release.clear()
            with monkeypatch.context() as patch:
                stuck = await start_stuck_batch(batcher, work, patch)
                following = batcher.submit(1)
            with pytest.raises(DeadlineError):
                await asyncio.wait_for(stuck, TIMEOUT)
            work.release.set()
            assert await gather_results(following) == [2]
            await wait_until(lambda: count_runner_threads("late") == 1)
            work.batches.clear()


async def test_close_does_not_wait_for_a_stuck_runner(monkeypatch: pytest.MonkeyPatch) -> None:
    work = DoublingWork(blocked=True)
    with run_batcher(work) as batcher:
        stuck = await start_stuck_batch(batcher, work, monkeypatch)
        await asyncio.wait_for(asyncio.to_thread(batcher.close), TIMEOUT)
        monkeypatch.undo()
        work.release.set()
        await asyncio.gather(stuck, return_exceptions=True)
