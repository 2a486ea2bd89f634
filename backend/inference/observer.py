"""What the core tells about its work, to whoever counts it."""

from typing import Final, Literal, Protocol

Shed = Literal["queue_full", "too_slow"]
Gathered = Literal["single", "partial", "full"]


class Observer(Protocol):
    """Hears of one model's pictures; every method may be called from any thread.

    Each picture that was admitted ends in exactly one of `answered`, `failed`, `expired` and
    `abandoned`, called in the context (`contextvars`) of whoever asked for it.
    """

    def admitted(self) -> None:
        """A picture was taken in."""

    def shed(self, reason: Shed) -> None:
        """A picture was refused: the queue is full, or the answer would come too late."""

    def expired(self) -> None:
        """The deadline of a picture passed."""

    def abandoned(self) -> None:
        """Who asked for the picture is gone."""

    def answered(self, decode: float, queue: float, inference: float) -> None:
        """A picture was answered; where its time went, in seconds."""

    def failed(self, cause: str | BaseException) -> None:
        """A picture could not be classified; `cause` is the error or its code."""

    def batch(self, size: int, reason: Gathered) -> None:
        """A forward pass over `size` pictures begins; why it has that size."""

    def depth(self, waiting: int) -> None:
        """So many pictures are inside now: admitted, and not answered yet."""


class SilentObserver:
    """Hears and does nothing."""

    def admitted(self) -> None:
        """Do nothing."""

    def shed(self, reason: Shed) -> None:
        """Do nothing."""

    def expired(self) -> None:
        """Do nothing."""

    def abandoned(self) -> None:
        """Do nothing."""

    def answered(self, decode: float, queue: float, inference: float) -> None:
        """Do nothing."""

    def failed(self, cause: str | BaseException) -> None:
        """Do nothing."""

    def batch(self, size: int, reason: Gathered) -> None:
        """Do nothing."""

    def depth(self, waiting: int) -> None:
        """Do nothing."""


SILENT: Final = SilentObserver()
