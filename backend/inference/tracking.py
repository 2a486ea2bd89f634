"""Counts the images of one classifier, and reports to its observer how each of them ends."""

import time
from asyncio import CancelledError
from types import TracebackType

from backend.inference.admission import WorkRejectedError
from backend.inference.batcher import NO_DEADLINE
from backend.inference.errors import DeadlineError
from backend.inference.observer import Observer


class Tracking:
    """The images of one classifier. Use it from one event loop."""

    def __init__(self, observer: Observer) -> None:
        self.received = 0
        self.in_flight = 0
        self.observer = observer

    @property
    def activity(self) -> int | None:
        """Number of images received so far; None while images are in flight."""
        return None if self.in_flight else self.received

    def track(self, time_limit: float | None) -> "TrackedImage":
        """Return the context of an admitted image, whose value is its deadline.

        The deadline is in seconds of `time.perf_counter`. Within the context, TimeoutError and
        DeadlineError become a DeadlineError that states `time_limit`.
        """
        return TrackedImage(self, time_limit)

    def reject(self, error: WorkRejectedError) -> None:
        """Count an image that was not admitted."""
        self.observer.shed(error.reason)


class TrackedImage:
    """Context of one admitted image. A class, because generators cost three times as much."""

    __slots__ = ("_time_limit", "_tracking")

    def __init__(self, tracking: Tracking, time_limit: float | None) -> None:
        self._tracking = tracking
        self._time_limit = time_limit

    def __enter__(self) -> float:
        tracking, time_limit = self._tracking, self._time_limit
        tracking.received += 1
        tracking.in_flight += 1
        tracking.observer.admitted()
        tracking.observer.depth(tracking.in_flight)
        return time.perf_counter() + time_limit if time_limit else NO_DEADLINE

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        tracking = self._tracking
        tracking.in_flight -= 1
        tracking.observer.depth(tracking.in_flight)
        if isinstance(error, TimeoutError | DeadlineError):
            tracking.observer.expired()
            raise deadline_error(self._time_limit) from error
        if isinstance(error, CancelledError):
            tracking.observer.abandoned()
        elif isinstance(error, Exception):
            tracking.observer.failed(error)


def deadline_error(seconds: float | None) -> DeadlineError:
    """Return the error of an image that was not classified within `seconds`."""
    limit = "" if seconds is None else f" than {round(seconds, 3):g} s"
    return DeadlineError(
        f"The classification took longer{limit} and was cancelled. Try again later."
    )
