"""The bytes of a picture -> one input of the model."""

import math
import time
from dataclasses import dataclass
from typing import Final

import numpy as np
from PIL import Image

from backend.inference.images import loading
from backend.inference.images.image_reader import Reader
from backend.inference.preprocessing.preprocess import Preprocess, preprocess
from backend.inference.types import Floats

_TINY: Final = 4_096  # bytes of a file, pixels of a picture, numbers of an input


@dataclass(frozen=True, slots=True)
class Input:
    """Rows of shape (n, *input), float32, and the seconds that decoding them took."""

    rows: Floats
    seconds: float = 0.0


class Decoder:
    """Decodes and preprocesses as `spec` says; many threads may call it at a time.

    With `scaled`, a JPEG is decoded at a reduced scale where the model needs few of its pixels.
    """

    def __init__(self, spec: Preprocess, reader: Reader, *, scaled: bool = True) -> None:
        self._spec = spec
        self._reader = reader
        self._side = spec.decoded_side if scaled else None
        self._small_input = math.prod(spec.input_shape) <= _TINY

    def decode(self, data: bytes) -> Input:
        """Decode and preprocess a file; raises an ImageError where it cannot be used."""
        started = time.perf_counter()
        with self._reader.read(data, self._side) as image:
            return self._prepare(image, started)

    def decode_tiny(self, data: bytes) -> Input | None:
        """`decode` where that costs less than to hand the picture to another thread, else None.

        It takes no part in the budget of memory: the event loop must not wait for it.
        """
        if len(data) > _TINY or not self._small_input:
            return None
        started = time.perf_counter()
        image = loading.open_image(data, max_pixels=self._reader.max_pixels)
        if image.width * image.height > _TINY:
            return None
        return self._prepare(loading.load_rgb(image), started)

    def _prepare(self, image: Image.Image, started: float) -> Input:
        rows = preprocess(image, self._spec)[np.newaxis]
        return Input(rows, time.perf_counter() - started)
