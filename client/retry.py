"""Retries with exponential backoff and Retry-After.

retry = Retry(stop, max_seconds=300)
while (error := attempt()) is not None and retry.wait(error):
    pass
"""

import math
import threading
from collections.abc import Callable, Set
from dataclasses import KW_ONLY, dataclass, field
from time import monotonic
from typing import Final

from .errors import BackendError, BackendUnreachable, ClientError, InvalidResponse

MAX_RETRY_AFTER: Final = 60.0  # s, of the backend for a request of the clients
TEMPORARY_STATUSES: Final = frozenset({408, 429, 502, 503, 504})


def is_temporary(
    error: ClientError, statuses: Set[int] = TEMPORARY_STATUSES, invalid_response: bool = False
) -> bool:
    """Return whether the same request may succeed later.

    Connection failures and timeouts are temporary, and so are the given HTTP `statuses`. With
    `invalid_response` a malformed or truncated response is temporary too.
    """
    if isinstance(error, BackendError):
        return error.status in statuses
    return isinstance(error, BackendUnreachable) or (
        invalid_response and isinstance(error, InvalidResponse)
    )


@dataclass
class Retry:
    """Waits between the attempts of one operation, until a limit is reached; times are in seconds.

    `on_wait` is called with the error and the delay before each wait. A Retry-After of the backend
    replaces the doubled delay.
    """

    stop: threading.Event = field(default_factory=threading.Event)  # cancels the waiting
    _: KW_ONLY
    on_wait: Callable[[ClientError, float], None] = lambda error, seconds: None
    max_attempts: float = math.inf  # in total, the first included
    max_seconds: float = math.inf  # from the first failure, or the last progress, on
    initial_delay: float = 1.0  # before the second attempt; doubled for each further one
    max_delay: float = 10.0  # upper bound of the doubled delay
    max_retry_after: float = math.inf  # upper bound of the delay that the backend requests
    statuses: frozenset[int] = TEMPORARY_STATUSES
    invalid_response: bool = False  # whether to retry malformed or truncated responses

    def __post_init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Restart the limits: the operation made progress."""
        self._failures = 0
        self._first_failure: float | None = None

    def wait(self, error: ClientError) -> bool:
        """Wait before the next attempt and return True.

        Return False if `error` is not temporary, a limit is reached, or `stop` is set.
        """
        delay = self.next_delay(error)
        return delay is not None and not self.stop.wait(delay)

    def next_delay(self, error: ClientError) -> float | None:
        """Return the seconds to wait before the next attempt.

        Return None if `error` is not temporary or a limit is reached.
        """
        now = monotonic()
        self._failures += 1
        if self._first_failure is None:
            self._first_failure = now
        is_exhausted = self._failures >= self.max_attempts
        is_late = now - self._first_failure > self.max_seconds
        can_retry = is_temporary(error, self.statuses, self.invalid_response)
        if not can_retry or is_exhausted or is_late:
            return None
        delay = self._delay(error)
        self.on_wait(error, delay)
        return delay

    def _delay(self, error: ClientError) -> float:
        if isinstance(error, BackendError) and error.retry_after:
            return min(error.retry_after, self.max_retry_after)
        exponent = min(self._failures - 1, 62)  # 2.0**1024 overflows
        return min(self.initial_delay * 2.0**exponent, self.max_delay)
