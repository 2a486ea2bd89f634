"""Estimate of the queue's wait, for admission control."""

from typing import Final

_HALF_LIFE: Final = 1.0  # seconds of work after which a measurement counts half


class WaitEstimator:
    """Count images in flight and estimate the seconds until they are done.

    The service time per image is an exponentially weighted average that starts at
    `seconds_per_image`. All times are seconds of one monotonic clock. Not thread-safe.
    """

    def __init__(self, seconds_per_image: float) -> None:
        self.in_flight = 0
        self._busy_seconds = seconds_per_image
        self._served = 1.0
        self._last_departure = 0.0

    @property
    def wait(self) -> float:
        """Estimated seconds until all images in flight are done."""
        return self.in_flight * self._busy_seconds / self._served

    def enter(self, now: float) -> None:
        """Count an image that enters."""
        if not self.in_flight:
            self._last_departure = now  # idle time does not count
        self.in_flight += 1

    def leave(self, now: float, *, served: bool) -> None:
        """Count an image that leaves: `served`, or dropped before it cost a forward pass."""
        self.in_flight -= 1
        if not served:
            return
        elapsed = max(now - self._last_departure, 0.0)
        self._last_departure = now
        weight = 0.5 ** (elapsed / _HALF_LIFE)
        self._busy_seconds = self._busy_seconds * weight + elapsed
        self._served = self._served * weight + 1.0
