"""How fast pictures leave while there is work: what a new one has to wait is told from it."""

from typing import Final

_HALF_LIFE: Final = 1.0  # seconds of work after which a measurement counts half


class Pace:
    """Counts the pictures inside and measures the seconds that one costs the whole service.

    `seconds_each` is the first guess. Times are seconds of one monotonic clock; the caller sees
    to it that only one thread calls.
    """

    def __init__(self, seconds_each: float) -> None:
        self.inside = 0
        self._busy = seconds_each
        self._served = 1.0
        self._since = 0.0

    @property
    def wait(self) -> float:
        """Seconds until what is inside now will have left."""
        return self.inside * self._busy / self._served

    def enter(self, now: float) -> None:
        """One more picture is inside."""
        if not self.inside:
            self._since = now  # idle time says nothing of the pace
        self.inside += 1

    def leave(self, now: float, *, served: bool) -> None:
        """A picture has left: `served`, or given up before it cost anything."""
        self.inside -= 1
        if not served:
            return
        passed = max(now - self._since, 0.0)
        self._since = now
        kept = 0.5 ** (passed / _HALF_LIFE)
        self._busy = self._busy * kept + passed
        self._served = self._served * kept + 1.0
