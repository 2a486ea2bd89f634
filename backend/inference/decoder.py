"""Image files -> model inputs."""

import math
import time
from dataclasses import dataclass
from typing import Final

import numpy as np
from PIL import Image

from backend.inference.images import loading, opening
from backend.inference.images.image_reader import ImageReader
from backend.inference.preprocessing.model_input import Preprocess, preprocess
from backend.inference.types import Floats

_TINY: Final = 4_096  # bytes of a file, pixels of an image, numbers of an input


@dataclass(frozen=True, slots=True)
class Input:
    """Model inputs: `rows` of shape (n, *input), float32, decoded in `seconds`."""

    rows: Floats
    seconds: float = 0.0


class Decoder:
    """Decodes and preprocesses image files as `spec` describes. Thread-safe.

    If `scaled`, a JPEG is decoded at a reduced scale when the model needs few of its pixels.
    """

    def __init__(self, spec: Preprocess, reader: ImageReader, *, scaled: bool = True) -> None:
        self._spec = spec
        self._reader = reader
        self._min_side = spec.decoded_side if scaled else None
        self._brightness_only = spec.kind == "digit"
        self._has_small_input = math.prod(spec.input_shape) <= _TINY

    def decode(self, data: bytes) -> Input:
        """Decode and preprocess an image file; raise ImageError if it cannot be used."""
        started = time.perf_counter()
        reading = self._reader.read(data, self._min_side, brightness_only=self._brightness_only)
        with reading as image:
            return self._preprocess(image, started)

    def decode_tiny(self, data: bytes) -> Input | None:
        """Decode a file that costs less than a hand-over to another thread; else return None.

        It bypasses the reader's memory budget, because the event loop must not wait for it.
        """
        if len(data) > _TINY or not self._has_small_input:
            return None
        started = time.perf_counter()
        image = opening.open_image(data, max_pixels=self._reader.max_pixels)
        if image.width * image.height > _TINY:
            return None
        rgb = loading.load_rgb(image, brightness_only=self._brightness_only)
        return self._preprocess(rgb, started)

    def _preprocess(self, image: Image.Image, started: float) -> Input:
        rows = preprocess(image, self._spec)[np.newaxis]
        return Input(rows, time.perf_counter() - started)
