"""Decoding of images within limits on pixels and memory."""

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Final

from PIL import Image

from backend.inference.errors import DeadlineError, ImageTooLargeError, StuckError
from backend.inference.images import loading, opening
from backend.inference.images.memory_cost import FULL_SIZE, estimate_memory

_TYPICAL_BYTES_PER_PIXEL: Final = 10
STUCK_SECONDS: Final = 30.0  # after which a decoder is not expected to return any more
MAX_STUCK: Final = 2  # decoders that do not return, after which the process should be replaced
_MAX_WAIT: Final = 5.0  # seconds for memory, unless the caller has reserved it
_KEPT_BYTES: Final = 100_000_000  # of decoded images that are kept for a second model
_KEPT_SHARE: Final = 16  # divisor of `memory` that limits the same


class MemoryExceededError(Exception):
    """Decoding an image needs `needed` bytes, which is more than its caller has reserved."""

    def __init__(self, needed: int) -> None:
        super().__init__()
        self.needed = needed


class MemoryBudget:
    """`total` bytes that threads share; a request for more than `total` takes all of them.

    Threads that wait are served in order of arrival, so that small requests do not starve a
    large one.
    """

    def __init__(self, total: int) -> None:
        self.total: Final = total
        self._free = total
        self._changed = threading.Condition()
        self._waiting: deque[object] = deque()
        self._listeners: list[Callable[[], None]] = []

    @contextmanager
    def reserve(self, size: int, seconds: float | None = None) -> Iterator[None]:
        """Hold `size` bytes while the block runs; wait until they are free.

        Raise DeadlineError after `seconds`.
        """
        size = min(size, self.total)
        ticket = object()
        with self._changed:
            self._waiting.append(ticket)
            try:
                is_free = self._changed.wait_for(
                    lambda: self._waiting[0] is ticket and self._free >= size, seconds
                )
            finally:
                self._waiting.remove(ticket)
                self._changed.notify_all()
            if not is_free:
                raise DeadlineError("The image waited too long for memory. Try again later.")
            self._free -= size
        try:
            yield
        finally:
            self.release(size)

    def try_reserve(self, size: int) -> bool:
        """Hold `size` bytes until `release` if they are free now; return whether they are.

        They are not while a thread waits in `reserve`.
        """
        size = min(size, self.total)
        with self._changed:
            if self._waiting or self._free < size:
                return False
            self._free -= size
            return True

    def release(self, size: int) -> None:
        """Free `size` reserved bytes."""
        with self._changed:
            self._free += min(size, self.total)
            self._changed.notify_all()
        for listener in self._listeners:
            listener()

    def on_release(self, listener: Callable[[], None]) -> None:
        """Call `listener` after each release."""
        self._listeners.append(listener)


class ImageReader:
    """Decodes images of at most `max_pixels`, as many concurrently as `memory` bytes allow.

    Without `memory`, the budget is that of one typical image of `max_pixels`. `kept_images` is the
    budget for decoded images that are kept.
    """

    def __init__(
        self, max_pixels: int = opening.DEFAULT_MAX_PIXELS, memory: int | None = None
    ) -> None:
        self.max_pixels: Final = max_pixels
        self._memory = memory
        typical = _TYPICAL_BYTES_PER_PIXEL * max_pixels
        self.budget: Final = MemoryBudget(typical if memory is None else min(typical, memory))
        kept = _KEPT_BYTES if memory is None else min(_KEPT_BYTES, memory // _KEPT_SHARE)
        self.kept_images: Final = MemoryBudget(kept)
        self._started: dict[object, float] = {}  # images in use, by the time of their decoding

    def require_responsive(self) -> None:
        """Raise StuckError if MAX_STUCK images have been decoded for STUCK_SECONDS already."""
        limit = time.monotonic() - STUCK_SECONDS
        if sum(started < limit for started in list(self._started.values())) >= MAX_STUCK:
            raise StuckError("Decoders do not return. The process should be replaced.")

    @contextmanager
    def read(
        self,
        data: bytes,
        min_side: int | None = None,
        *,
        brightness_only: bool = False,
        reserved: int | None = None,
    ) -> Iterator[Image.Image]:
        """Yield an upright RGB image in sRGB and hold its memory while the block runs.

        Blocks until the memory is free, at most _MAX_WAIT seconds. If the caller has `reserved`
        memory, raise MemoryExceededError if the image needs more. With `min_side`, an image may be
        decoded at a smaller scale, with no side shorter than `min_side`. With `brightness_only`,
        conversions of color that gray levels do not need are omitted. Raise an ImageError if the
        image cannot be used.
        """
        image = opening.open_image(data, max_pixels=self.max_pixels, min_side=min_side)
        needed = estimate_memory(image)
        if self._memory is not None and needed > self._memory:
            width, height = image.info.get(FULL_SIZE, image.size)
            raise ImageTooLargeError(
                f"The image has {width} x {height} pixels, which needs more memory "
                "than this service allows for one image. Scale it down, or save it as JPEG, and "
                "send it again."
            )
        if reserved is not None and needed > reserved:
            raise MemoryExceededError(needed)
        with self.budget.reserve(needed, _MAX_WAIT) if reserved is None else nullcontext():
            ticket = object()
            self._started[ticket] = time.monotonic()
            try:
                # Rebinding releases the opened image with the pixels before they are turned.
                image = loading.load_rgb(image, min_side=min_side, brightness_only=brightness_only)
                yield image
            finally:
                del self._started[ticket]
