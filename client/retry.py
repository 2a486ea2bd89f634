"""Retries with exponential backoff and Retry-After.

retry = Retry(stop, max_seconds=300)
while (error := attempt()) is not None and retry.wait(error):
    pass
"""

import math
import threading
from collections.abc import Callable
from time import monotonic
from typing import Final

from client.errors import BackendError, BackendUnreachable, ClientError, InvalidResponse

TEMPORARY_STATUSES: Final = frozenset({408, 429, 502, 503, 504})


def is_temporary(
    error: ClientError,
    *,
    statuses: frozenset[int] = TEMPORARY_STATUSES,
    invalid_response: bool = False,
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


class Retry:
    """Wait between the attempts of one operation, until a limit is reached.

    ===================  ===========================================================
    `stop`               event that cancels the waiting
    `on_wait`            called with the error and the seconds before each wait
    `max_attempts`       attempts in total, the first included
    `max_seconds`        time from the first failure, or the last progress, on
    `initial_delay`      s before the second attempt; doubled for each further one
    `max_delay`          upper bound of the doubled delay, in s
    `max_retry_after`    upper bound of the delay that the backend requests, in s
    `statuses`           HTTP statuses to retry
    `invalid_response`   whether to retry malformed or truncated responses
    ===================  ===========================================================

    A Retry-After of the backend replaces the doubled delay.
    """

    def __init__(
        self,
        stop: threading.Event,
        *,
        on_wait: Callable[[ClientError, float], None] = lambda error, seconds: None,
        max_attempts: float = math.inf,
        max_seconds: float = math.inf,
        initial_delay: float = 1.0,
        max_delay: float = 10.0,
        max_retry_after: float = math.inf,
        statuses: frozenset[int] = TEMPORARY_STATUSES,
        invalid_response: bool = False,
    ) -> None:
        self._stop = stop
        self._on_wait = on_wait
        self._max_attempts = max_attempts
        self._max_seconds = max_seconds
        self._initial_delay = initial_delay
        self._max_delay = max_delay
        self._max_retry_after = max_retry_after
        self._statuses = statuses
        self._invalid_response = invalid_response
        self.reset()

    def reset(self) -> None:
        """Restart the limits: the operation made progress."""
        self._failures = 0
        self._first_failure: float | None = None

    def wait(self, error: ClientError) -> bool:
        """Wait before the next attempt and return True.

        Return False if `error` is not temporary, a limit is reached, or `stop` is set.
        """
        now = monotonic()
        self._failures += 1
        if self._first_failure is None:
            self._first_failure = now
        if (
            not is_temporary(
                error, statuses=self._statuses, invalid_response=self._invalid_response
            )
            or self._failures >= self._max_attempts
            or now - self._first_failure > self._max_seconds
        ):
            return False
        delay = self._delay(error)
        self._on_wait(error, delay)
        return not self._stop.wait(delay)

    def _delay(self, error: ClientError) -> float:
        if isinstance(error, BackendError) and error.retry_after:
            return min(error.retry_after, self._max_retry_after)
        exponent = min(self._failures - 1, 62)  # 2.0**1024 overflows
        return min(self._initial_delay * 2.0**exponent, self._max_delay)
