"""Confidence intervals of shares of images, and of the difference of two models' accuracies."""

import math
from dataclasses import dataclass
from typing import Final

from scipy.stats import binomtest, norm

LEVEL: Final = 0.95  # confidence level of all intervals


@dataclass(frozen=True, slots=True)
class Interval:
    """A 95% confidence interval, from `low` to `high`."""

    low: float
    high: float


def wilson(successes: int, total: int) -> Interval:
    """Return Wilson's score interval of the share `successes / total`, within [0, 1].

    Raise ValueError if `total` is 0. Source: Wilson 1927; its coverage is close to nominal for
    small samples and for shares near 0 and 1 (Brown, Cai, DasGupta 2001).
    """
    bounds = binomtest(successes, total).proportion_ci(LEVEL, method="wilson")
    return Interval(float(bounds.low), float(bounds.high))


def paired_difference(only_a: int, only_b: int, total: int) -> Interval:
    """Return the interval of B's minus A's accuracy on the same `total` images, within [-1, 1].

    `only_a` and `only_b` are the numbers of images that only one model classifies correctly.
    Raise ValueError if `total` is 0. Source: Agresti and Min 2005, the Wald interval after 0.5 is
    added to each of the four counts.
    """
    if total < 1:
        raise ValueError("the difference of no images has no interval")
    count, a, b = total + 2, only_a + 0.5, only_b + 0.5
    center = (b - a) / count
    error = math.sqrt(a + b - (b - a) ** 2 / count) / count
    margin = float(norm.ppf((1 + LEVEL) / 2)) * error
    return Interval(max(-1.0, center - margin), min(1.0, center + margin))
