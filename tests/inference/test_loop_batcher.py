"""Loop batcher: batches of one turn, their time, failures and cancellation."""

import asyncio
from collections.abc import Sequence

import pytest

from backend.inference import loop_batcher
from backend.inference.errors import ClosedError, DeadlineError, QueueFullError
from backend.inference.loop_batcher import LoopBatcher
from tests.inference.helpers import (
    FAILING_BATCH_ITEM,
    FAILING_ITEM,
    DoublingWork,
    gather_outcomes,
    gather_results,
)

pytestmark = pytest.mark.anyio

BROKEN = "broken"


class Clock:
    """Replaces the time; each prepared item takes `seconds`."""

    def __init__(self, seconds: float = 0.0) -> None:
        self.now = 100.0
        self.seconds = seconds
        self.prepared: list[str] = []

    def perf_counter(self) -> float:
        return self.now

    def prepare(self, item: str) -> int:
        self.prepared.append(item)
        self.now += self.seconds
        if item == BROKEN:
            raise ValueError(item)
        return int(item)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(loop_batcher, "time", clock)
    return clock


def create_batcher(
    work: DoublingWork,
    clock: Clock,
    *,
    seconds: float = 0.0,
    max_batch: int = 8,
    queue_size: int = 512,
) -> LoopBatcher[str, int, int]:
    return LoopBatcher(
        clock.prepare, work, lambda: seconds, max_batch=max_batch, queue_size=queue_size
    )


async def test_items_of_one_turn_run_in_one_batch(clock: Clock) -> None:
    work = DoublingWork()
    batcher = create_batcher(work, clock)
    assert await gather_results(*(batcher.submit(str(i)) for i in range(5))) == [0, 2, 4, 6, 8]
    assert await batcher.submit("7") == 14
    assert work.items == [[0, 1, 2, 3, 4], [7]]
    assert work.reasons == ["partial", "single"]


async def test_batch_has_at_most_max_batch_items(clock: Clock) -> None:
    work = DoublingWork()
    batcher = create_batcher(work, clock, max_batch=2)
    await gather_results(*(batcher.submit(str(i)) for i in range(5)))
    assert work.items == [[0, 1], [2, 3], [4]]
    assert work.reasons == ["full", "full", "single"]


@pytest.mark.parametrize(("prepare", "run"), [(0.001, 0.0), (0.0, 0.001), (0.0005, 0.0005)])
async def test_time_of_a_batch_is_bounded(clock: Clock, prepare: float, run: float) -> None:
    work = DoublingWork()
    clock.seconds = prepare
    batcher = create_batcher(work, clock, seconds=run)
    assert await gather_results(*(batcher.submit(str(i)) for i in range(8))) == [*range(0, 16, 2)]
    assert [len(items) for items in work.items] == [3, 3, 2]


async def test_loop_runs_other_callbacks_between_batches(clock: Clock) -> None:
    work = DoublingWork()
    clock.seconds = 1.0
    batcher = create_batcher(work, clock)
    futures = [batcher.submit(str(i)) for i in range(3)]
    batches = []
    while batcher.queued:
        batches.append(len(work.batches))
        await asyncio.sleep(0)
    assert batches == [0, 1, 2]
    await gather_results(*futures)


async def test_clients_take_turns(clock: Clock) -> None:
    work = DoublingWork()
    batcher = create_batcher(work, clock, max_batch=2)
    futures = [batcher.submit(str(i), client="busy") for i in range(4)]
    futures.append(batcher.submit("9", client="other"))
    await gather_results(*futures)
    assert 9 in work.items[0]


async def test_item_that_cannot_be_prepared_fails_alone(clock: Clock) -> None:
    work = DoublingWork()
    batcher = create_batcher(work, clock)
    items = ["1", BROKEN, str(FAILING_ITEM), "3"]
    outcomes = await gather_outcomes(*(batcher.submit(item) for item in items))
    assert [outcomes[0], outcomes[3]] == [2, 6]
    assert isinstance(outcomes[1], ValueError)
    assert isinstance(outcomes[2], ValueError)
    assert work.items == [[1, FAILING_ITEM, 3]]


async def test_failing_batch_does_not_affect_the_next(clock: Clock) -> None:
    batcher = create_batcher(DoublingWork(), clock, max_batch=2)
    items = ["1", str(FAILING_BATCH_ITEM), "3"]
    outcomes = await gather_outcomes(*(batcher.submit(item) for item in items))
    assert [type(outcome) for outcome in outcomes[:2]] == [RuntimeError, RuntimeError]
    assert outcomes[2] == 6


async def test_cancelled_and_expired_items_are_not_prepared(clock: Clock) -> None:
    work = DoublingWork()
    batcher = create_batcher(work, clock)
    cancelled, expired, other = (
        batcher.submit("1"),
        batcher.submit("2", deadline=clock.now - 1),
        batcher.submit("3", deadline=clock.now + 1),
    )
    cancelled.cancel()
    with pytest.raises(DeadlineError):
        await expired
    assert await other == 6
    assert clock.prepared == ["3"]


async def test_full_queue_raises_queue_full_error(clock: Clock) -> None:
    batcher = create_batcher(DoublingWork(), clock, queue_size=2)
    first, second = batcher.submit("1"), batcher.submit("2")
    with pytest.raises(QueueFullError):
        batcher.submit("3")
    first.cancel()
    third = batcher.submit("3")
    assert await gather_results(second, third) == [4, 6]


async def test_closed_batcher_finishes_queued_items(clock: Clock) -> None:
    batcher = create_batcher(DoublingWork(), clock, max_batch=1)
    futures: Sequence[asyncio.Future[int]] = [batcher.submit("1"), batcher.submit("2")]
    batcher.close()
    with pytest.raises(ClosedError):
        batcher.submit("3")
    assert await gather_results(*futures) == [2, 4]
