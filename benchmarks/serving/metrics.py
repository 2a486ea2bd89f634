"""What a scenario yields: a figure by rounds, and what it should reach."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from benchmarks.serving.stats import spread


@dataclass(frozen=True)
class Target:
    """A bound: at least, or at most."""

    sign: Literal["≥", "≤"]
    value: float

    def met(self, median: float) -> bool:
        """Whether the median of the rounds reaches it."""
        return median >= self.value if self.sign == "≥" else median <= self.value

    def __str__(self) -> str:
        return f"{self.sign} {self.value:g}"


@dataclass(frozen=True)
class Figure:
    """One line of the table: a value for each round, in `unit` (empty: a ratio)."""

    scenario: str
    what: str
    unit: str
    values: Sequence[float]
    target: Target | None = None
    note: str = ""

    @property
    def verdict(self) -> str:
        """`yes` or `no`, or nothing where there is no target; none measured is none missed."""
        if self.target is None:
            return ""
        median = spread(self.values).median
        if math.isnan(median):
            return "—"
        return "yes" if self.target.met(median) else "no"


def at_least(value: float) -> Target:
    """A target from below."""
    return Target("≥", value)


def at_most(value: float) -> Target:
    """A target from above."""
    return Target("≤", value)
