"""Every answer of a run, and which of them count."""

from bisect import bisect_right
from dataclasses import dataclass, field
from typing import NamedTuple


class Answer(NamedTuple):
    """One answer: times in seconds, `at` of `perf_counter`."""

    at: float
    latency: float  # from the time that the request was due
    status: int


@dataclass
class Records:
    """Answers in the order they came, of which those between `start` and `end` count."""

    start: float
    end: float
    answers: list[Answer] = field(default_factory=list)
    unanswered: int = 0
    late: float = 0.0  # share of requests that the generator itself came too late for

    def counted(self) -> list[Answer]:
        """The answers of the counted time.

        It begins with the last answer before `start` and ends with the last before `end`: a
        server that answers in batches would else gain or lose up to one batch by chance.
        """
        first, last = self._bounds()
        return self.answers[first:last]

    @property
    def span(self) -> float:
        """Seconds that the counted answers took."""
        first, last = self._bounds()
        begin = self.answers[first - 1].at if first else self.start
        finish = self.answers[last - 1].at if last > first else self.end
        return max(finish - begin, 1e-9)

    def _bounds(self) -> tuple[int, int]:
        times = [answer.at for answer in self.answers]
        return bisect_right(times, self.start), bisect_right(times, self.end)
