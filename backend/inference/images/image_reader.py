"""Reading pictures within bounds: no more pixels than allowed, no more memory than there is."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from PIL import Image

from backend.inference.errors import ImageTooLargeError
from backend.inference.images import loading
from backend.inference.images.memory_budget import Budget

_USUAL: Final = 10  # bytes that a pixel takes until it is reduced


class Reader:
    """Reads pictures of at most `max_pixels`, as many at a time as `memory` (bytes) allows.

    Without `memory` it is what one usual picture of `max_pixels` takes.
    """

    def __init__(
        self, max_pixels: int = loading.DEFAULT_MAX_PIXELS, memory: int | None = None
    ) -> None:
        self.max_pixels: Final = max_pixels
        self._memory = memory
        usual = _USUAL * max_pixels
        self._budget = Budget(usual if memory is None else min(usual, memory))

    @contextmanager
    def read(self, data: bytes, side: int | None = None) -> Iterator[Image.Image]:
        """Give an upright RGB picture and hold its memory while the block runs; may wait for it.

        With `side` a JPEG may come smaller, no side of it shorter than that. Raises an ImageError.
        """
        image = loading.open_image(data, max_pixels=self.max_pixels)
        width, height = image.size
        if side is not None:
            loading.reduce(image, side)
        needed = loading.memory(image, width * height)
        if self._memory is not None and needed > self._memory:
            raise ImageTooLargeError(
                f"The picture has {width} x {height} pixels, which take more memory than this "
                "service has for one. Scale it down, or save it as JPEG, and send it again."
            )
        with self._budget.take(needed):
            yield loading.load_rgb(image)
