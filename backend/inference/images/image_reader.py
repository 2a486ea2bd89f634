"""Decoding of images within limits on pixels and memory."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from PIL import Image

from backend.inference.errors import ImageTooLargeError
from backend.inference.images import loading, opening
from backend.inference.images.memory_cost import FULL_SIZE, estimate_memory

_TYPICAL_BYTES_PER_PIXEL: Final = 10
_KEPT_BYTES: Final = 100_000_000  # of decoded images that are kept for a second model
_KEPT_SHARE: Final = 8  # divisor of `memory` that limits the same


class MemoryBudget:
    """`total` bytes that threads share; a request for more than `total` takes all of them."""

    def __init__(self, total: int) -> None:
        self._total = total
        self._free = total
        self._changed = threading.Condition()

    @contextmanager
    def reserve(self, size: int) -> Iterator[None]:
        """Hold `size` bytes while the block runs; wait until they are free."""
        size = min(size, self._total)
        with self._changed:
            self._changed.wait_for(lambda: self._free >= size)
            self._free -= size
        try:
            yield
        finally:
            self.release(size)

    def try_reserve(self, size: int) -> bool:
        """Hold `size` bytes until `release` if they are free now; return whether they are."""
        with self._changed:
            if self._free < size:
                return False
            self._free -= size
            return True

    def release(self, size: int) -> None:
        """Free `size` reserved bytes."""
        with self._changed:
            self._free += size
            self._changed.notify_all()


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
        self._budget = MemoryBudget(typical if memory is None else min(typical, memory))
        kept = _KEPT_BYTES if memory is None else min(_KEPT_BYTES, memory // _KEPT_SHARE)
        self.kept_images: Final = MemoryBudget(kept)

    @contextmanager
    def read(
        self, data: bytes, min_side: int | None = None, *, brightness_only: bool = False
    ) -> Iterator[Image.Image]:
        """Yield an upright RGB image in sRGB and hold its memory while the block runs.

        Blocks until the memory is free. With `min_side`, a JPEG may be decoded at a smaller scale,
        with no side shorter than `min_side`. With `brightness_only`, conversions of color that
        gray levels do not need are omitted. Raise an ImageError if the image cannot be used.
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
        with self._budget.reserve(needed):
            # Rebinding releases the opened image, which holds the pixels before they are turned.
            image = loading.load_rgb(image, brightness_only=brightness_only)
            yield image
