"""Finds the saturation point of a service, and the number of instances that a load requires.

At first, more concurrent users produce more responses per second. Beyond some point they only
increase the latency. That is the saturation point: the throughput of one instance at low latency.
"""

import math
from dataclasses import dataclass, field

MAX_STALLED_STEPS = 2  # consecutive; a single slow step may be noise


@dataclass(frozen=True)
class Step:
    """The measurements with a number of concurrent users. Rates in requests/s, latencies in ms."""

    users: int
    rate: float  # of successful requests
    mean: float
    p50: float
    p95: float
    p99: float
    failures: float  # share of the requests, 0 to 1

    @property
    def in_flight(self) -> float:
        """The mean number of requests in flight, by Little's law."""
        return requests_in_flight(self.rate, self.mean)


@dataclass(frozen=True)
class Limits:
    """The criteria that a step must meet."""

    p95: float = 1000.0  # ms
    failures: float = 0.01  # share of the requests
    growth: float = 0.1  # share by which each step must increase the rate


@dataclass
class SaturationSearch:
    """Increases the number of users step by step; `saturation` is the last useful step.

    Users are multiplied by `factor`, from `first_users` to `max_users`. The search ends after two
    consecutive steps that are too slow, fail too often, or do not increase the rate by the share
    in `limits`. After one such step, the next must increase it by two shares, because otherwise
    noise would prolong the search indefinitely.
    """

    limits: Limits = field(default_factory=Limits)
    first_users: int = 1
    factor: float = 1.5
    max_users: int = 1000
    steps: list[Step] = field(default_factory=list)
    saturation: Step | None = None
    _stalled_steps: int = 0

    def add(self, step: Step) -> None:
        """Add the measurements of a step."""
        self.steps.append(step)
        if self._is_useful(step):
            self.saturation, self._stalled_steps = step, 0
        else:
            self._stalled_steps += 1

    @property
    def users(self) -> int:
        """The number of users of the next step."""
        if not self.steps:
            return min(self.first_users, self.max_users)
        previous = self.steps[-1].users
        return min(self.max_users, max(previous + 1, round(previous * self.factor)))

    @property
    def is_finished(self) -> bool:
        has_max_users = bool(self.steps) and self.steps[-1].users >= self.max_users
        return self._stalled_steps >= MAX_STALLED_STEPS or has_max_users

    @property
    def is_saturated(self) -> bool:
        """Whether steps beyond the saturation point were measured."""
        return self.saturation is not None and self.saturation is not self.steps[-1]

    def describe_violation(self, step: Step) -> str:
        """Return which limit `step` exceeded; empty if it only did not increase the rate."""
        if step.failures > self.limits.failures:
            return f"{step.failures:.1%} failed"
        if step.p95 > self.limits.p95:
            return f"p95 above {self.limits.p95:,.0f} ms"
        return ""

    def _is_useful(self, step: Step) -> bool:
        shares = self._stalled_steps + 1
        growth = (1 + self.limits.growth) ** shares
        least = self.saturation.rate * growth if self.saturation else 0.0
        return not self.describe_violation(step) and step.rate > least


def requests_in_flight(rate: float, latency: float) -> float:
    """Return rate x latency (Little 1961), for `rate` in requests/s and a mean `latency` in ms."""
    return rate * latency / 1000


def count_instances(rate: float, saturation: Step, headroom: float) -> int:
    """Return the instances for `rate` requests/s, with `headroom` times the average demand.

    Raise ValueError if the rate at the saturation point is 0.
    """
    if saturation.rate <= 0:
        raise ValueError("an instance without successful responses is never enough")
    return max(1, math.ceil(rate * headroom / saturation.rate))
