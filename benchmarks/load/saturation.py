"""Where a service has its knee, and how many instances a load takes.

More people at a time first mean more answers a second; from some point on they only mean longer
waiting. That point is the knee: what one instance can do while its answers are still quick.
"""

import math
from dataclasses import dataclass, field

PATIENCE = 2  # steps in a row without progress: one alone may be the machine's bad moment


@dataclass(frozen=True)
class Step:
    """So many users at a time, and what came of it. Rates in requests/s, latencies in ms."""

    users: int
    rate: float  # answered as they should be
    mean: float
    p50: float
    p95: float
    p99: float
    failures: float  # share of the requests, 0 to 1

    @property
    def in_flight(self) -> float:
        """Requests that are under way at a time, by Little's law: rate x latency."""
        return concurrency(self.rate, self.mean)


@dataclass(frozen=True)
class Limits:
    """From where on a step is too much."""

    p95: float = 1000.0  # ms
    failures: float = 0.01  # share of the requests
    growth: float = 0.1  # share by which each step has to raise the rate


@dataclass
class Ascent:
    """Raises the users step by step, and finds the knee: the last step that was worth it.

    Users are multiplied by `factor`, from `first` to `most`. The ascent is over after two steps in
    a row that were too slow, failed too often, or did not raise the rate by the share in `limits`:
    by two such shares after a step that did not, else luck would creep up for ever.
    """

    limits: Limits = field(default_factory=Limits)
    first: int = 1
    factor: float = 1.5
    most: int = 1000
    steps: list[Step] = field(default_factory=list)
    knee: Step | None = None
    _useless: int = 0

    def add(self, step: Step) -> None:
        """Take in what came of a step."""
        self.steps.append(step)
        if self._is_worth_it(step):
            self.knee, self._useless = step, 0
        else:
            self._useless += 1

    @property
    def users(self) -> int:
        """The users of the next step."""
        if not self.steps:
            return min(self.first, self.most)
        before = self.steps[-1].users
        return min(self.most, max(before + 1, round(before * self.factor)))

    @property
    def is_over(self) -> bool:
        """Whether more steps would tell nothing more."""
        return self._useless >= PATIENCE or bool(self.steps and self.steps[-1].users >= self.most)

    @property
    def is_reached(self) -> bool:
        """Whether there were steps beyond the knee: else the service can do more than was asked."""
        return self.knee is not None and self.knee is not self.steps[-1]

    def why(self, step: Step) -> str:
        """Say what was wrong with a step beyond the knee; empty where it only did not help."""
        if step.failures > self.limits.failures:
            return f"{step.failures:.1%} failed".replace("%", " %")
        if step.p95 > self.limits.p95:
            return f"p95 above {self.limits.p95:,.0f} ms"
        return ""

    def _is_worth_it(self, step: Step) -> bool:
        steps = self._useless + 1  # since the knee
        least = self.knee.rate * (1 + self.limits.growth) ** steps if self.knee else 0.0
        return not self.why(step) and step.rate > least


def concurrency(rate: float, latency: float) -> float:
    """Requests under way at a time (Little 1961): `rate` in requests/s, mean `latency` in ms."""
    return rate * latency / 1000


def instances(rate: float, knee: Step, headroom: float) -> int:
    """Instances for `rate` requests/s, with `headroom` times what is needed on average.

    Raises ValueError where the knee's rate is 0.
    """
    if knee.rate <= 0:
        raise ValueError("an instance that answers nothing is never enough")
    return max(1, math.ceil(rate * headroom / knee.rate))
