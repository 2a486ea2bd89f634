"""The load of a saturation search: the number of users increases step by step.

This module does not import Locust, which patches the standard library.
"""

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from benchmarks.load.saturation import SaturationSearch, Step


class RequestCounts(Protocol):
    """Locust's statistics of all requests since the start of the run."""

    num_requests: int
    num_failures: int
    total_response_time: int  # ms
    response_times: dict[int, int]  # rounded ms -> requests


ReadCounts = Callable[[], RequestCounts]


class StepLoad:
    """Increases the users until `search` is finished; `read_counts` returns Locust's statistics.

    The first `settle` seconds of each step are ignored; the next `seconds` are measured.
    """

    def __init__(
        self, search: SaturationSearch, read_counts: ReadCounts, settle: float, seconds: float
    ) -> None:
        self._search, self._read_counts = search, read_counts
        self._settle, self._seconds = settle, seconds
        self._started: float | None = None
        self._before: Snapshot | None = None

    def tick(self) -> tuple[int, float] | None:
        """Return the number of users and the spawn rate per second; None ends the run."""
        now = time.perf_counter()
        if self._started is None:
            self._started = now
        elif self._before is None:
            if now - self._started >= self._settle:
                self._before = Snapshot.of(self._read_counts(), now)
        elif now - self._before.at >= self._seconds:
            after = Snapshot.of(self._read_counts(), now)
            self._search.add(measure_step(self._search.users, self._before, after))
            if self._search.is_finished:
                return None
            self._started, self._before = now, None
        return self._search.users, self._search.users


@dataclass(frozen=True)
class Snapshot:
    """The statistics at one time (`perf_counter`)."""

    at: float
    requests: int
    failures: int
    total: float  # ms
    latencies: Counter[int]  # rounded ms -> requests

    @classmethod
    def of(cls, counts: RequestCounts, at: float) -> "Snapshot":
        """Copy `counts`, which Locust keeps updating."""
        requests, failures = counts.num_requests, counts.num_failures
        latencies = Counter(counts.response_times)
        return cls(at, requests, failures, counts.total_response_time, latencies)


def measure_step(users: int, before: Snapshot, after: Snapshot) -> Step:
    """Return the measurements of the requests between two snapshots."""
    requests = after.requests - before.requests
    failures = after.failures - before.failures
    latencies = after.latencies - before.latencies
    return Step(
        users=users,
        rate=(requests - failures) / (after.at - before.at),
        mean=(after.total - before.total) / requests if requests else 0.0,
        p50=quantile(latencies, 0.5),
        p95=quantile(latencies, 0.95),
        p99=quantile(latencies, 0.99),
        failures=failures / requests if requests else 1.0,
    )


def quantile(latencies: Counter[int], share: float) -> float:
    """Return the smallest latency that `share` (0 to 1) of the requests did not exceed, or 0."""
    required, cumulative = share * latencies.total(), 0
    for latency in sorted(latencies):
        cumulative += latencies[latency]
        if cumulative >= required:
            return float(latency)
    return 0.0
