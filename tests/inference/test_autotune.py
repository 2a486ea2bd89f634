"""Autotuner and Plan: the plan follows from the measured forward passes."""

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from backend.inference import autotune
from backend.inference.autotune import Autotuner, Interrupted, Plan
from backend.inference.types import Floats

# Seconds of a forward pass, by batch size.
Cost = Callable[[int], float]


class Clock:
    """A clock that only advances in forward passes and in `sleep`."""

    def __init__(self) -> None:
        self.now = 0.0

    def perf_counter(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


class TimedRuntime:
    """A network whose forward pass takes `cost(batch size)` seconds of the clock."""

    name = "timed"

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


def choose_plan(
    wide: TimedRuntime,
    narrow: TimedRuntime | None = None,
    *,
    max_batch: int = 32,
    activity: Callable[[], int | None] = lambda: 0,
    is_stopped: Callable[[], bool] = lambda: False,
) -> Plan:
    return Autotuner(
        wide,
        narrow,
        threads=4,
        shape=(1, 2, 2),
        max_batch=max_batch,
        activity=activity,
        is_stopped=is_stopped,
    ).choose_plan()


def test_chooses_one_runner_per_processor_if_threads_do_not_help(clock: Clock) -> None:
    wide = TimedRuntime(clock, lambda size: 0.010 * size)
    narrow = TimedRuntime(clock, lambda size: 0.003 * size)
    plan = choose_plan(wide, narrow)
    assert (plan.runners, plan.threads, plan.measured) == (4, 1, True)


def test_chooses_one_runner_over_all_processors_if_faster(clock: Clock) -> None:
    wide = TimedRuntime(clock, lambda size: 0.002 * size)
    narrow = TimedRuntime(clock, lambda size: 0.004 * size)
    plan = choose_plan(wide, narrow)
    assert (plan.runners, plan.threads, plan.alone_threads) == (1, 4, 4)


def test_single_image_uses_all_processors_if_faster_only_for_it(clock: Clock) -> None:
    wide = TimedRuntime(clock, lambda size: 0.002 + 0.010 * (size - 1))  # slow in batches
    narrow = TimedRuntime(clock, lambda size: 0.005 if size == 1 else 0.0005 * size)
    plan = choose_plan(wide, narrow)
    assert (plan.runners, plan.threads, plan.alone_threads) == (4, 1, 4)


def test_single_image_uses_one_thread_if_more_do_not_help(clock: Clock) -> None:
    wide = TimedRuntime(clock, lambda size: 0.010 * size)
    narrow = TimedRuntime(clock, lambda size: 0.010 * size / 2)
    assert choose_plan(wide, narrow).alone_threads == 1


@pytest.mark.parametrize(
    ("cost", "batch"),
    [
        (lambda size: 0.010 * size, 4),  # no gain from batches
        (lambda size: 0.010 * size if size < 4 else 0.005 * size, 4),
        (lambda size: 0.010 + 0.001 * size, 32),  # large gain
        (lambda size: 0.010 if size <= 16 else 0.010 * size / 16, 16),
    ],
)
def test_chooses_smallest_batch_near_maximum_throughput(
    clock: Clock, cost: Cost, batch: int
) -> None:
    assert choose_plan(TimedRuntime(clock, cost)).max_batch == batch


def test_batches_do_not_exceed_max_batch(clock: Clock) -> None:
    wide = TimedRuntime(clock, lambda size: 0.010 + 0.001 * size)
    assert choose_plan(wide, max_batch=6).max_batch == 6
    assert max(wide.batches) == 6


def test_stops_trying_larger_batches_without_gain(clock: Clock) -> None:
    wide = TimedRuntime(clock, lambda size: 0.010 * size)
    choose_plan(wide)
    assert set(wide.batches) == {4, 16}  # not 32


def test_non_concurrent_runtime_gets_one_runner_and_decoders(clock: Clock) -> None:
    plan = choose_plan(TimedRuntime(clock, lambda size: 0.001 * size, concurrent=False))
    assert (plan.runners, plan.threads, plan.decoders, plan.measured) == (1, 4, 4, True)


@pytest.mark.parametrize(
    ("single", "under_load", "speed"),
    [(0.5, 0.25, 2.0), (0.25, 0.5, 2.0), (2.0, 0.25, 0.5)],
)
def test_speed_of_other_networks_is_the_lower_of_single_and_concurrent(
    clock: Clock, single: float, under_load: float, speed: float
) -> None:
    """Single images run in the wide network, concurrent ones in the narrow one."""
    plan = Plan(threads=1, runners=4, alone_threads=4, max_batch=4)
    wide, narrow = (TimedRuntime(clock, lambda size: 0.010 * size) for _ in range(2))
    other_wide = TimedRuntime(clock, lambda size: 0.010 * size * single)
    other_narrow = TimedRuntime(clock, lambda size: 0.010 * size * under_load)
    tuner = Autotuner(
        wide, narrow, threads=4, shape=(1,), max_batch=4, activity=lambda: 0,
        is_stopped=lambda: False,
    )  # fmt: skip
    assert tuner.compare_speed(plan, other_wide, other_narrow) == pytest.approx(speed)
    assert set(other_wide.batches) == {1}
    assert set(other_narrow.batches) == {4}


def test_disturbed_measurement_is_repeated(clock: Clock) -> None:
    """An image arrives in each of the first measurements and makes them slow."""
    disturbed = 5

    def cost(size: int) -> float:
        return 9.0 if received < disturbed else 0.010 * size if size < 4 else 0.005 * size

    received, calls = 0, 0

    def activity() -> int:
        nonlocal received, calls
        calls += 1
        if calls % 2 == 0 and received < disturbed:  # during a measurement
            received += 1
        return received

    wide = TimedRuntime(clock, cost)
    assert choose_plan(wide, activity=activity).max_batch == 4
    assert received == disturbed


def test_waits_until_no_image_is_in_flight(clock: Clock) -> None:
    wide = TimedRuntime(clock, lambda size: 0.010 * size)
    inside = [None] * 10
    batch_counts: list[int] = []

    def activity() -> int | None:
        if inside:
            batch_counts.append(len(wide.batches))
            return inside.pop()
        return 10

    choose_plan(wide, activity=activity)
    assert batch_counts == [0] * 10


def test_stopping_interrupts_between_measurements(clock: Clock) -> None:
    wide = TimedRuntime(clock, lambda size: 0.100 * size)
    with pytest.raises(Interrupted):
        choose_plan(wide, is_stopped=lambda: len(wide.batches) >= 2)
    assert len(wide.batches) == 2


def test_concurrent_runners_add_up_on_a_real_clock() -> None:
    class Sleeper:
        name = "sleeper"
        concurrent = True

        def __call__(self, batch: Floats) -> Floats:
            time.sleep(0.005)
            return batch

    plan = Autotuner(
        Sleeper(),
        Sleeper(),
        threads=8,
        shape=(1,),
        max_batch=1,
        activity=lambda: 0,
        is_stopped=lambda: False,
    ).choose_plan()
    assert (plan.runners, plan.threads, plan.max_batch) == (8, 1, 1)


def test_written_plan_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / "new" / "plan.json"
    assert autotune.read_plan(path) is None
    plan = Plan(threads=1, runners=4, alone_threads=4, max_batch=8, measured=True)
    autotune.write_plan(path, plan)
    assert autotune.read_plan(path) == plan
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("text", ["", "{", "{}", '{"threads": 0}', "[]"])
def test_invalid_plan_file_returns_none(tmp_path: Path, text: str) -> None:
    path = tmp_path / "plan.json"
    path.write_text(text)
    assert autotune.read_plan(path) is None
