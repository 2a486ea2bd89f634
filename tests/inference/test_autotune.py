"""The plan follows from what was measured."""

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from backend.inference import autotune
from backend.inference.autotune import Interrupted, Plan, Autotuner
from backend.inference.types import Floats

# Seconds that a forward pass takes, by its batch.
Cost = Callable[[int], float]


class Clock:
    """Time that only passes in forward passes, whichever thread runs them, and in sleep."""

    def __init__(self) -> None:
        self.now = 0.0

    def perf_counter(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


class Costly:
    """A network of which a forward pass takes what `cost` says."""

    name = "costly"

    def __init__(self, clock: Clock, cost: Cost, *, concurrent: bool = True) -> None:
        self.concurrent = concurrent
        self.batches: list[int] = []
        self._clock = clock
        self._cost = cost

    def __call__(self, batch: Floats) -> Floats:
        self.batches.append(len(batch))
        self._clock.now += self._cost(len(batch))
        return np.zeros((len(batch), 10), dtype=np.float32)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(autotune, "time", clock)
    return clock


def survey(
    wide: Costly,
    narrow: Costly | None = None,
    *,
    max_batch: int = 32,
    activity: Callable[[], int | None] = lambda: 0,
    stopped: Callable[[], bool] = lambda: False,
) -> Plan:
    return Autotuner(
        wide,
        narrow,
        threads=4,
        shape=(1, 2, 2),
        max_batch=max_batch,
        activity=activity,
        stopped=stopped,
    ).plan()


def test_four_runners_where_threads_do_not_help_one_forward_pass(clock: Clock) -> None:
    wide = Costly(clock, lambda size: 0.010 * size)
    narrow = Costly(clock, lambda size: 0.003 * size)
    found = survey(wide, narrow)
    assert (found.runners, found.threads, found.measured) == (4, 1, True)


def test_one_runner_over_all_processors_where_that_is_faster(clock: Clock) -> None:
    wide = Costly(clock, lambda size: 0.002 * size)
    narrow = Costly(clock, lambda size: 0.004 * size)
    found = survey(wide, narrow)
    assert (found.runners, found.threads, found.alone_threads) == (1, 4, 4)


def test_one_alone_gets_all_processors_where_they_help_it_though_not_many(clock: Clock) -> None:
    wide = Costly(clock, lambda size: 0.002 + 0.010 * (size - 1))  # does not pay in batches
    narrow = Costly(clock, lambda size: 0.005 if size == 1 else 0.0005 * size)
    found = survey(wide, narrow)
    assert (found.runners, found.threads, found.alone_threads) == (4, 1, 4)


def test_one_alone_gets_one_thread_where_more_do_not_help_it(clock: Clock) -> None:
    wide = Costly(clock, lambda size: 0.010 * size)
    narrow = Costly(clock, lambda size: 0.010 * size / 2)
    assert survey(wide, narrow).alone_threads == 1


@pytest.mark.parametrize(
    ("cost", "batch"),
    [
        (lambda size: 0.010 * size, 4),  # nothing is gained by a batch
        (lambda size: 0.010 * size if size < 4 else 0.005 * size, 4),
        (lambda size: 0.010 + 0.001 * size, 32),  # much is
        (lambda size: 0.010 if size <= 16 else 0.010 * size / 16, 16),
    ],
)
def test_batches_are_as_large_as_pays(clock: Clock, cost: Cost, batch: int) -> None:
    assert survey(Costly(clock, cost)).max_batch == batch


def test_no_batch_is_larger_than_allowed(clock: Clock) -> None:
    wide = Costly(clock, lambda size: 0.010 + 0.001 * size)
    assert survey(wide, max_batch=6).max_batch == 6
    assert max(wide.batches) == 6


def test_larger_batches_are_not_tried_once_they_do_not_pay(clock: Clock) -> None:
    wide = Costly(clock, lambda size: 0.010 * size)
    survey(wide)
    assert set(wide.batches) == {4, 16}  # 32 would have been allowed


def test_a_runtime_for_one_thread_at_a_time_has_one_runner_and_decoders(clock: Clock) -> None:
    found = survey(Costly(clock, lambda size: 0.001 * size, concurrent=False))
    assert (found.runners, found.threads, found.decoders, found.measured) == (1, 4, 4, True)


def test_a_measurement_that_was_disturbed_is_made_again(clock: Clock) -> None:
    """A picture comes in each of the first probes, which look slow by it."""
    disturbed = 5

    def cost(size: int) -> float:
        return 9.0 if came < disturbed else 0.010 * size if size < 4 else 0.005 * size

    came, looks = 0, 0

    def activity() -> int:
        nonlocal came, looks
        looks += 1
        if looks % 2 == 0 and came < disturbed:  # between two looks, while it was measured
            came += 1
        return came

    wide = Costly(clock, cost)
    assert survey(wide, activity=activity).max_batch == 4
    assert came == disturbed


def test_nothing_is_measured_while_pictures_are_inside(clock: Clock) -> None:
    wide = Costly(clock, lambda size: 0.010 * size)
    inside = [None] * 10
    seen: list[int] = []

    def activity() -> int | None:
        if inside:
            seen.append(len(wide.batches))
            return inside.pop()
        return 10

    survey(wide, activity=activity)
    assert seen == [0] * 10


def test_it_is_interrupted_between_two_probes(clock: Clock) -> None:
    wide = Costly(clock, lambda size: 0.100 * size)
    with pytest.raises(Interrupted):
        survey(wide, stopped=lambda: len(wide.batches) >= 2)
    assert len(wide.batches) == 2


def test_callers_side_by_side_are_counted_together_on_a_real_clock() -> None:
    class Sleeper:
        name = "sleeper"
        concurrent = True

        def __call__(self, batch: Floats) -> Floats:
            time.sleep(0.005)
            return batch

    found = Autotuner(
        Sleeper(),
        Sleeper(),
        threads=8,
        shape=(1,),
        max_batch=1,
        activity=lambda: 0,
        stopped=lambda: False,
    ).plan()
    assert (found.runners, found.threads, found.max_batch) == (8, 1, 1)


def test_a_plan_is_kept_and_read_again(tmp_path: Path) -> None:
    path = tmp_path / "new" / "plan.json"
    assert autotune.read(path) is None
    kept = Plan(threads=1, runners=4, alone_threads=4, max_batch=8, measured=True)
    autotune.write(path, kept)
    assert autotune.read(path) == kept
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("text", ["", "{", "{}", '{"threads": 0}', "[]"])
def test_a_damaged_plan_is_none(tmp_path: Path, text: str) -> None:
    path = tmp_path / "plan.json"
    path.write_text(text)
    assert autotune.read(path) is None


def test_a_plan_in_words() -> None:
    many = Plan(threads=1, runners=4, alone_threads=2, max_batch=8)
    assert str(many) == "4 x 1 threads, 2 for one alone, no decoders, batches up to 8"
    one = Plan(threads=4, runners=1, alone_threads=4, max_batch=32, decoders=4)
    assert str(one) == "1 x 4 threads, 4 for one alone, 4 decoders, batches up to 32"
