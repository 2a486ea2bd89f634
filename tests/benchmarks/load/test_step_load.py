"""The load that locust is told, and what is counted of each step."""

from collections import Counter
from dataclasses import dataclass, field

import pytest

from benchmarks.load.saturation import Ascent
from benchmarks.load.step_load import Seen, Staircase, between, quantile


@dataclass
class Counting:
    """What locust counts."""

    num_requests: int = 0
    num_failures: int = 0
    total_response_time: int = 0
    response_times: dict[int, int] = field(default_factory=dict)

    def log(self, *latencies: int, failed: int = 0) -> None:
        """Take in requests of these latencies, of which so many failed."""
        self.num_requests += len(latencies)
        self.num_failures += failed
        self.total_response_time += sum(latencies)
        for latency in latencies:
            self.response_times[latency] = self.response_times.get(latency, 0) + 1


def test_a_step_counts_only_what_came_between_its_moments() -> None:
    counting = Counting()
    counting.log(900, 900, 900, failed=2)
    before = Seen.of(counting, at=10)
    counting.log(*range(1, 101), failed=20)
    found = between(7, before, Seen.of(counting, at=20))
    assert found.users == 7
    assert found.rate == 8  # a second, without those that failed
    assert found.failures == 0.2
    assert found.mean == 50.5
    assert (found.p50, found.p95, found.p99) == (50, 95, 99)


def test_a_step_in_which_nothing_was_answered_has_failed() -> None:
    found = between(1, Seen.of(Counting(), at=0), Seen.of(Counting(), at=5))
    assert (found.rate, found.failures) == (0, 1)


@pytest.mark.parametrize(
    ("share", "latency"), [(0, 10), (0.5, 10), (0.75, 20), (0.76, 700), (1, 700)]
)
def test_a_quantile_is_the_least_latency_that_so_many_kept(share: float, latency: float) -> None:
    assert quantile(Counter({700: 1, 10: 2, 20: 1}), share) == latency
    assert quantile(Counter(), share) == 0


def test_users_rise_after_the_time_of_a_step_and_what_came_first_does_not_count(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = 0.0
    monkeypatch.setattr("benchmarks.load.step_load.time.perf_counter", lambda: now)
    counting = Counting()
    ascent = Ascent(first=2, factor=2, most=4)
    stairs = Staircase(ascent, lambda: counting, settle=2, seconds=3)
    told = []
    for second in range(11):
        now = float(second)
        told.append(stairs.tick())
        counting.log(5000 if second in (0, 1, 5, 6) else 10)  # slow at first, as users settle
    assert told[:5] == [(2, 2)] * 5
    assert told[5:10] == [(4, 4)] * 5
    assert told[10] is None
    assert [one.p95 for one in ascent.steps] == [10, 10]
