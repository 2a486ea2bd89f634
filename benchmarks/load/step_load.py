"""The load of a run that looks for the knee: users, step by step.

Locust is not imported here: it changes the standard library of whoever does.
"""

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from benchmarks.load.saturation import Ascent, Step


class Counted(Protocol):
    """What locust counts of all requests, since the start of the run."""

    num_requests: int
    num_failures: int
    total_response_time: int  # ms
    response_times: dict[int, int]  # rounded ms -> requests


class Staircase:
    """Raises the users until `ascent` is over; `counted` gives what locust has counted by now.

    Of each step the first `settle` seconds do not count, and the next `seconds` do.
    """

    def __init__(
        self, ascent: Ascent, counted: Callable[[], Counted], settle: float, seconds: float
    ) -> None:
        self._ascent, self._counted = ascent, counted
        self._settle, self._seconds = settle, seconds
        self._since: float | None = None
        self._before: Seen | None = None

    def tick(self) -> tuple[int, float] | None:
        """The users of now, and how many of them may start in a second; None ends the run."""
        now = time.perf_counter()
        if self._since is None:
            self._since = now
        elif self._before is None:
            if now - self._since >= self._settle:
                self._before = Seen.of(self._counted(), now)
        elif now - self._before.at >= self._seconds:
            after = Seen.of(self._counted(), now)
            self._ascent.add(between(self._ascent.users, self._before, after))
            if self._ascent.is_over:
                return None
            self._since, self._before = now, None
        return self._ascent.users, self._ascent.users


@dataclass(frozen=True)
class Seen:
    """What was counted by a moment (`perf_counter`)."""

    at: float
    requests: int
    failures: int
    total: float  # ms
    latencies: Counter[int]  # rounded ms -> requests

    @classmethod
    def of(cls, counted: Counted, at: float) -> "Seen":
        """A copy: locust counts on."""
        return cls(
            at,
            counted.num_requests,
            counted.num_failures,
            counted.total_response_time,
            Counter(counted.response_times),
        )


def between(users: int, before: Seen, after: Seen) -> Step:
    """What came of the requests between two moments."""
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
    """The least latency that `share` (0 to 1) of the requests did not exceed; 0 without any."""
    needed, so_far = share * latencies.total(), 0
    for latency in sorted(latencies):
        so_far += latencies[latency]
        if so_far >= needed:
            return float(latency)
    return 0.0
