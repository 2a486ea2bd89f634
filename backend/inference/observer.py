"""Callbacks for metrics and traces of one model's work."""

from typing import Literal

ShedReason = Literal["queue_full", "too_slow"]
BatchReason = Literal["single", "partial", "full"]


class Observer:
    """Base class whose callbacks do nothing. They may be called from any thread.

    Each admitted image ends in exactly one of `answered`, `failed`, `expired` and `abandoned`,
    which are called in the context (`contextvars`) of the caller that submitted the image.
    """

    def admitted(self) -> None:
        """Handle an image that entered the queue."""

    def shed(self, reason: ShedReason) -> None:
        """Handle an image that was rejected: full queue, or expected wait over the deadline."""

    def expired(self) -> None:
        """Handle an admitted image whose deadline passed."""

    def abandoned(self) -> None:
        """Handle an admitted image whose caller cancelled it."""

    def answered(self, decode: float, queue: float, inference: float) -> None:
        """Handle a classified image and the durations of its stages, in seconds."""

    def failed(self, cause: str | BaseException) -> None:
        """Handle an image that failed; `cause` is the exception or its error code."""

    def batch(self, size: int, reason: BatchReason) -> None:
        """Handle the start of a forward pass over `size` images."""

    def depth(self, in_flight: int) -> None:
        """Handle a change in the number of admitted images that have not ended."""
