"""Quantiles of one run, and the spread of a figure over the rounds."""

import math
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Spread:
    """A figure over the rounds: its least, its median and its largest value."""

    low: float
    median: float
    high: float


def quantile(values: Sequence[float], share: float) -> float:
    """The value below which `share` (0 to 1) of `values` lie, interpolated as numpy does.

    NaN where there are no values. Raises ValueError for a share out of range.
    """
    if not 0 <= share <= 1:
        raise ValueError(f"a share lies between 0 and 1, not at {share}")
    if not values:
        return math.nan
    ordered = sorted(values)
    place = share * (len(ordered) - 1)
    below = math.floor(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (place - below) * (ordered[above] - ordered[below])


def spread(values: Sequence[float]) -> Spread:
    """Least, median and largest of `values`, one a round; all NaN where there are none."""
    return Spread(*(quantile(values, share) for share in (0, 0.5, 1)))


def ratios(over: Sequence[float], under: Sequence[float]) -> list[float]:
    """`over / under` round by round, so that what slowed a whole round down cancels out.

    A round whose divisor is 0 gives infinity. Raises ValueError where the rounds differ in number.
    """
    pairs = zip(over, under, strict=True)
    return [above / below if below else math.inf for above, below in pairs]


def best(rounds: Sequence[Sequence[float]]) -> list[float]:
    """The largest value of each round, from one sequence of rounds for each contender."""
    return [max(values) for values in zip(*rounds, strict=True)]
