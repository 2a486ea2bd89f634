"""The load of a run that looks for the knee: users, step by step, as locust wants it told."""

import time
from dataclasses import dataclass

from locust import LoadTestShape
from locust.stats import (
    RequestStats,
    calculate_response_time_percentile,
    diff_response_time_dicts,
)

from load.knee import Ascent, Step


class Staircase(LoadTestShape):
    """Raises the users until `ascent` is over, by what locust counts in `stats`.

    Of each step the first `settle` seconds do not count, and the next `seconds` do.
    """

    abstract = True  # locust would else take it for the shape of every run

    def __init__(self, ascent: Ascent, stats: RequestStats, settle: float, seconds: float) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._ascent, self._stats = ascent, stats
        self._settle, self._seconds = settle, seconds
        self._since: float | None = None
        self._before: Seen | None = None

    def tick(self) -> tuple[int, float] | None:
        """The users of now; locust asks once a second, and None ends the run."""
        now = time.perf_counter()
        if self._since is None:
            self._since = now
        elif self._before is None:
            if now - self._since >= self._settle:
                self._before = Seen.of(self._stats, now)
        elif now - self._before.at >= self._seconds:
            self._ascent.add(between(self._ascent.users, self._before, Seen.of(self._stats, now)))
            if self._ascent.is_over:
                return None
            self._since, self._before = now, None
        return self._ascent.users, self._ascent.users


@dataclass(frozen=True)
class Seen:
    """What locust has counted by a moment (`perf_counter`)."""

    at: float
    requests: int
    failures: int
    total: float  # ms
    latencies: dict[int, int]  # rounded ms -> requests

    @classmethod
    def of(cls, stats: RequestStats, at: float) -> "Seen":
        """A copy of the total of all requests."""
        total = stats.total  # another one after each start of a run
        return cls(
            at,
            total.num_requests,
            total.num_failures,
            total.total_response_time,
            dict(total.response_times),
        )


def between(users: int, before: Seen, after: Seen) -> Step:
    """What came of the requests between two moments."""
    requests = after.requests - before.requests
    failures = after.failures - before.failures
    latencies = diff_response_time_dicts(after.latencies, before.latencies)
    p50, p95, p99 = (
        float(calculate_response_time_percentile(latencies, requests, share))
        for share in (0.5, 0.95, 0.99)
    )
    return Step(
        users=users,
        rate=(requests - failures) / (after.at - before.at),
        mean=(after.total - before.total) / requests if requests else 0.0,
        p50=p50,
        p95=p95,
        p99=p99,
        failures=failures / requests if requests else 1.0,
    )
