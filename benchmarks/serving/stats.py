"""The responses of a load run, and statistics of a run and of several rounds."""

import math
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple


class Response(NamedTuple):
    """One response. Times are in seconds, `at` on the clock of `perf_counter`."""

    at: float
    latency: float  # since the request was due
    status: int


@dataclass
class RunRecord:
    """The responses of a run in order of arrival; those from `start` to `end` are measured."""

    start: float
    end: float
    responses: list[Response] = field(default_factory=list)
    unanswered: int = 0
    late: float = 0.0  # share of requests that the load generator sent late

    def measured(self) -> list[Response]:
        """Return the responses of the measured time.

        It begins with the last response before `start` and ends with the last one before `end`:
        otherwise a server that responds in batches would gain or lose up to one batch by chance.
        """
        first, last = self._bounds()
        return self.responses[first:last]

    @property
    def span(self) -> float:
        """Return the duration of the measured responses in seconds."""
        first, last = self._bounds()
        begin = self.responses[first - 1].at if first else self.start
        end = self.responses[last - 1].at if last > first else self.end
        return max(end - begin, 1e-9)

    def _bounds(self) -> tuple[int, int]:
        times = [response.at for response in self.responses]
        return bisect_right(times, self.start), bisect_right(times, self.end)


@dataclass(frozen=True)
class Spread:
    """Minimum, median and maximum of a figure over the rounds."""

    low: float
    median: float
    high: float


def quantile(values: Sequence[float], share: float) -> float:
    """Return the quantile `share` (0 to 1) of `values`, linearly interpolated as in NumPy.

    Return NaN if `values` is empty. Raise ValueError if `share` is out of range.
    """
    if not 0 <= share <= 1:
        raise ValueError(f"share must be between 0 and 1, not {share}")
    if not values:
        return math.nan
    ordered = sorted(values)
    place = share * (len(ordered) - 1)
    below = math.floor(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (place - below) * (ordered[above] - ordered[below])


def spread(values: Sequence[float]) -> Spread:
    """Return minimum, median and maximum of `values`; all are NaN if `values` is empty."""
    return Spread(*(quantile(values, share) for share in (0, 0.5, 1)))


def ratios(numerators: Sequence[float], denominators: Sequence[float]) -> list[float]:
    """Return the ratio of each round, so that a slow round affects both values alike.

    A round with denominator 0 gives infinity. Raise ValueError if the lengths differ.
    """
    pairs = zip(numerators, denominators, strict=True)
    return [above / below if below else math.inf for above, below in pairs]


def best_per_round(rounds: Sequence[Sequence[float]]) -> list[float]:
    """Return the largest value of each round; `rounds` holds one sequence for each system."""
    return [max(values) for values in zip(*rounds, strict=True)]
