"""Admission of work to one queue: each client's work in flight, its limit and the expected wait."""

import time
from asyncio import CancelledError
from collections import Counter
from collections.abc import Hashable, Iterator
from contextlib import contextmanager
from typing import Final

from backend.inference.errors import DeadlineError, QueueFullError
from backend.inference.observer import ShedReason

# A client may hold this many times as many places as are free: three quarters if it is alone,
# 3/7 each of two, 3/25 each of eight. Places stay free for another client.
CLIENT_FACTOR: Final = 3
# The wait is only an estimate: work whose estimated wait exceeds this share of its time limit is
# rejected.
_MAX_WAIT_SHARE: Final = 0.8
_HALF_LIFE: Final = 3.0  # seconds of work after which a measurement counts half


class WorkRejectedError(QueueFullError):
    """The work was not admitted for the `reason`."""

    def __init__(self, reason: ShedReason, retry_after: float) -> None:
        super().__init__(
            "The service is busy and cannot classify this image in time. Try again later.",
            retry_after=retry_after,
        )
        self.reason: Final = reason


class Admission:
    """Counts work in flight by client, and estimates the seconds until it is done.

    Work has a cost, in estimated seconds. The pace, in actual seconds per second of cost, is an
    exponentially weighted average. All times are seconds of one monotonic clock. Not thread-safe.
    """

    def __init__(self, size: int, typical_cost: float) -> None:
        """Admit at most `size` items, which cost `typical_cost` seconds unless stated."""
        self.in_flight = 0
        self._size = size
        self._typical_cost = typical_cost
        self._costs: dict[Hashable, float] = {}
        self._counts: Counter[Hashable] = Counter()
        self._total = 0.0
        self._busy_seconds = self._served = typical_cost
        self._last_departure = 0.0

    def wait(self, client: Hashable = "", cost: float | None = None) -> float:
        """Estimate the seconds until an item of a client would be done, without the item itself.

        The queue is fair: of every other client, it serves only as much as of this client before.
        """
        own = self._costs.get(client, 0.0) + (self._typical_cost if cost is None else cost)
        if own >= self._total:
            return self._pace * self._total
        return self._pace * sum(min(each, own) for each in self._costs.values())

    def held(self, client: Hashable) -> int:
        """Return the number of a client's items in flight."""
        return self._counts[client]

    def require(
        self, time_limit: float | None, client: Hashable = "", cost: float | None = None
    ) -> None:
        """Raise WorkRejectedError unless an item would be admitted and done within `time_limit`."""
        free = self._size - self.in_flight
        if self._counts[client] >= CLIENT_FACTOR * free:
            raise WorkRejectedError("queue_full", self.wait(client, cost))
        if time_limit is not None and self.in_flight:
            wait = self.wait(client, cost)
            needed = self._pace * (self._typical_cost if cost is None else cost)
            if wait > min(_MAX_WAIT_SHARE * time_limit, time_limit - needed):
                raise WorkRejectedError("too_slow", wait)

    @property
    def _pace(self) -> float:
        """Actual seconds per second of cost."""
        return self._busy_seconds / self._served

    @contextmanager
    def track(self, client: Hashable = "", cost: float | None = None) -> Iterator[None]:
        """Count an item while the block runs; one that ends late or is cancelled is not served."""
        self.enter(time.perf_counter(), client, cost)
        is_served = True
        try:
            yield
        except (TimeoutError, DeadlineError, CancelledError):
            is_served = False
            raise
        finally:
            self.leave(time.perf_counter(), client, cost, served=is_served)

    def enter(self, now: float, client: Hashable = "", cost: float | None = None) -> None:
        """Count an item that enters."""
        if not self.in_flight:
            self._last_departure = now  # idle time does not count
        cost = self._typical_cost if cost is None else cost
        self.in_flight += 1
        self._counts[client] += 1
        self._costs[client] = self._costs.get(client, 0.0) + cost
        self._total += cost

    def leave(
        self, now: float, client: Hashable = "", cost: float | None = None, *, served: bool
    ) -> None:
        """Count an item that leaves: `served`, or dropped before it was processed."""
        cost = self._typical_cost if cost is None else cost
        self.in_flight -= 1
        self._counts[client] -= 1
        self._costs[client] -= cost
        self._total -= cost
        if not self._counts[client]:
            del self._counts[client], self._costs[client]
        if not self.in_flight:
            self._total = 0.0  # without rounding errors
        if not served:
            return
        elapsed = max(now - self._last_departure, 0.0)
        self._last_departure = now
        weight = 0.5 ** (elapsed / _HALF_LIFE)
        self._busy_seconds = self._busy_seconds * weight + elapsed
        self._served = self._served * weight + cost
