"""The number of users increases step by step, and each step is measured."""

from collections import Counter
from dataclasses import dataclass, field

import pytest

from benchmarks.load.saturation import SaturationSearch
from benchmarks.load.step_load import Snapshot, StepLoad, measure_step, quantile


@dataclass
class FakeCounts:
    """Locust's statistics."""

    num_requests: int = 0
    num_failures: int = 0
    total_response_time: int = 0
    response_times: dict[int, int] = field(default_factory=dict)

    def log(self, *latencies: int, failed: int = 0) -> None:
        """Add requests with these latencies in ms, of which `failed` failed."""
        self.num_requests += len(latencies)
        self.num_failures += failed
        self.total_response_time += sum(latencies)
        for latency in latencies:
            self.response_times[latency] = self.response_times.get(latency, 0) + 1


def test_step_is_measured_between_two_snapshots() -> None:
    counts = FakeCounts()
    counts.log(900, 900, 900, failed=2)
    before = Snapshot.of(counts, at=10)
    counts.log(*range(1, 101), failed=20)
    step = measure_step(7, before, Snapshot.of(counts, at=20))
    assert step.users == 7
    assert step.rate == 8  # per second, without failed requests
    assert step.failures == 0.2
    assert step.mean == 50.5
    assert (step.p50, step.p95, step.p99) == (50, 95, 99)


def test_step_without_responses_has_failed() -> None:
    step = measure_step(1, Snapshot.of(FakeCounts(), at=0), Snapshot.of(FakeCounts(), at=5))
    assert (step.rate, step.failures) == (0, 1)


@pytest.mark.parametrize(
    ("share", "latency"), [(0, 10), (0.5, 10), (0.75, 20), (0.76, 700), (1, 700)]
)
def test_quantile_is_smallest_latency_that_share_did_not_exceed(
    share: float, latency: float
) -> None:
    assert quantile(Counter({700: 1, 10: 2, 20: 1}), share) == latency
    assert quantile(Counter(), share) == 0


def test_users_increase_after_each_step_and_settling_is_not_measured(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = 0.0
    monkeypatch.setattr("benchmarks.load.step_load.time.perf_counter", lambda: now)
    counts = FakeCounts()
    search = SaturationSearch(first_users=2, factor=2, max_users=4)
    step_load = StepLoad(search, lambda: counts, settle=2, seconds=3)
    ticks = []
    for second in range(11):
        now = float(second)
        ticks.append(step_load.tick())
        counts.log(5000 if second in (0, 1, 5, 6) else 10)  # slow while users settle
    assert ticks[:5] == [(2, 2)] * 5
    assert ticks[5:10] == [(4, 4)] * 5
    assert ticks[10] is None
    assert [step.p95 for step in search.steps] == [10, 10]
