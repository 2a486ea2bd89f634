"""Image files -> model inputs."""

import math
import threading
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from PIL import Image

from backend.inference.images import loading, opening, png
from backend.inference.images.decoding_cost import DecodingCost, estimate_cost
from backend.inference.images.image_reader import ImageReader, MemoryBudget
from backend.inference.images.memory_cost import FULL_SIZE
from backend.inference.preprocessing.model_input import (
    Preprocess,
    input_region,
    preprocess,
    preprocess_with_penalty,
)
from backend.inference.preprocessing.photos import PhotoPreprocess, crop_photo, normalize_photo
from backend.inference.types import Floats, Region

_TINY: Final = 4_096  # bytes of a file, pixels of an image, numbers of an input
_TINY_MEMORY: Final = 32 * _TINY  # bytes
_PROFILE: Final = b"ICC"  # in the names of the segments with color profiles, but of PNG
# Limits of a PNG that the event loop may decode, which takes 0.1 to 1 ms.
_QUICK_BYTES: Final = 32_768
_QUICK_SECONDS: Final = 0.0025  # estimated, as for 256x256 pixels
_CROP_SECONDS: Final = 2e-9  # per pixel of a decoded image
_QUICK: Final = 100_000  # pixels of a decoded image that costs less to decode again than to crop


@dataclass(frozen=True, slots=True)
class Input:
    """Model inputs: `rows` of shape (n, *input), float32, decoded in `seconds`."""

    rows: Floats
    seconds: float = 0.0
    ood_penalty: float = 0.0  # added to the out-of-distribution scores


@dataclass(frozen=True, slots=True)
class LocatedInput:
    """A model input `row` (*input), float32, and the part of the upright image that it shows.

    The image has the `size` (width, height); `region` is None if no digit was found in it.
    """

    row: Floats
    region: Region | None
    size: tuple[int, int]


class SharedImage:
    """An image file that several models are asked about; it is decoded only once.

    The decoded image is kept for the models that may be asked later, as far as the reader's budget
    allows, or else their crops for photos, which take longer but less memory. An image that is
    quickly decoded is decoded again instead. Call `close` when no more models are asked.
    """

    def __init__(self, data: bytes, decoders: Sequence["Decoder"]) -> None:
        self.data: Final = data
        self._decoders = decoders
        self._crops: dict[Decoder, Image.Image] = {}
        self._kept: tuple[Image.Image, MemoryBudget] | None = None
        self._is_closed = False
        self._lock = threading.Lock()  # a cancelled request closes while a thread still decodes

    @property
    def min_side(self) -> int | None:
        """The shortest side that all decoders accept; None if one needs the full size."""
        sides = [each.min_side for each in self._decoders]
        return None if None in sides else max(side or 0 for side in sides)

    def estimate_cost(self, decoder: "Decoder") -> DecodingCost:
        """Estimate what `decode` will cost."""
        kept = self._kept
        if decoder in self._crops:
            return DecodingCost(0, 0)
        if kept is not None:
            return DecodingCost(_CROP_SECONDS * kept[0].width * kept[0].height, 0)
        return estimate_cost(self.data, decoder.reader.max_pixels, self.min_side)

    def decode(self, decoder: "Decoder", reserved: int | None = None) -> Input:
        """Return the input of one decoder; raise the errors of `Decoder.decode`."""
        started = time.perf_counter()
        if (crop := self._find_crop(decoder)) is not None:
            return decoder.normalize(crop, started)
        with decoder.reader.read(self.data, self.min_side, reserved=reserved) as image:
            decoded = decoder.preprocess(image, started)
            if image.width * image.height <= _QUICK or self._keep(image, decoder.reader):
                return decoded
            started = time.perf_counter()
            for other in self._decoders:
                if other is not decoder and isinstance(other.spec, PhotoPreprocess):
                    self._crops[other] = crop_photo(image, other.spec)
        return replace(decoded, seconds=decoded.seconds + time.perf_counter() - started)

    def close(self) -> None:
        """Release the decoded image."""
        with self._lock:
            self._is_closed = True
            if self._kept is not None:
                image, budget = self._kept
                self._kept = None
                budget.release(_rgb_bytes(image))

    def _find_crop(self, decoder: "Decoder") -> Image.Image | None:
        kept = self._kept
        if kept is not None and isinstance(decoder.spec, PhotoPreprocess):
            return crop_photo(kept[0], decoder.spec)
        return self._crops.pop(decoder, None)

    def _keep(self, image: Image.Image, reader: ImageReader) -> bool:
        with self._lock:
            if self._is_closed or self._kept is not None:
                return True
            size, budget = _rgb_bytes(image), reader.kept_images
            if size > budget.total or not budget.try_reserve(size):
                return False
            self._kept = image, reader.kept_images
            return True


def _rgb_bytes(image: Image.Image) -> int:
    return 3 * image.width * image.height


class Decoder:
    """Decodes and preprocesses image files as `spec` describes. Thread-safe.

    If `scaled`, a JPEG is decoded at a reduced scale when the model needs few of its pixels.
    """

    def __init__(self, spec: Preprocess, reader: ImageReader, *, scaled: bool = True) -> None:
        self.spec: Final = spec
        self.reader: Final = reader
        self.min_side: Final = spec.decoded_side if scaled else None
        self._brightness_only = spec.kind == "digit"
        self.has_small_input: Final = math.prod(spec.input_shape) <= _TINY

    def decode(self, image_file: bytes | SharedImage, reserved: int | None = None) -> Input:
        """Decode and preprocess an image file.

        Raise ImageError if it cannot be used, and MemoryExceededError if the caller has `reserved`
        less memory than it needs.
        """
        if isinstance(image_file, SharedImage):
            return image_file.decode(self, reserved)
        started = time.perf_counter()
        with self._read(image_file, reserved) as image:
            return self.preprocess(image, started)

    def estimate_cost(self, image_file: bytes | SharedImage) -> DecodingCost:
        """Estimate what decoding an image file will cost."""
        if isinstance(image_file, SharedImage):
            return image_file.estimate_cost(self)
        return estimate_cost(image_file, self.reader.max_pixels, self.min_side)

    def locate(self, data: bytes, reserved: int | None = None) -> LocatedInput:
        """Return the input of an image file with its region; raise the errors of `decode`."""
        opened = opening.open_image(data, max_pixels=self.reader.max_pixels, min_side=self.min_side)
        size = opened.info.get(FULL_SIZE, opened.size)
        with self._read(data, reserved) as image:
            is_turned = (size[0] > size[1]) != (image.width > image.height)
            upright = size[::-1] if is_turned else size
            return LocatedInput(
                preprocess(image, self.spec), input_region(image, self.spec), upright
            )

    def decode_tiny(self, image_file: bytes | SharedImage) -> Input | None:
        """Decode a file that costs less than a hand-over to another thread; else return None.

        It bypasses the reader's memory budget, because the event loop must not wait for it. No file
        is opened here whose header does not prove that it is tiny.
        """
        data = image_file.data if isinstance(image_file, SharedImage) else image_file
        if len(data) > _TINY or not self.has_small_input:
            return None
        started = time.perf_counter()
        cost = estimate_cost(data, self.reader.max_pixels)
        if not cost.is_certain or cost.memory > _TINY_MEMORY:
            return None
        image = opening.open_image(data, max_pixels=self.reader.max_pixels)
        if image.width * image.height > _TINY or "icc_profile" in image.info:
            return None
        rgb = loading.load_rgb(image, brightness_only=self._brightness_only)
        return self.preprocess(rgb, started)

    def is_quick(self, image_file: bytes | SharedImage, cost: DecodingCost) -> bool:
        """Return whether decoding a file of this cost takes the event loop a few ms at most.

        This holds for tiny files, and for a PNG of moderate size without color profile.
        """
        if not self.has_small_input or not cost.is_certain:
            return False
        data = image_file.data if isinstance(image_file, SharedImage) else image_file
        if not data.startswith(png.SIGNATURE):
            return len(data) <= _TINY and cost.memory <= _TINY_MEMORY and _PROFILE not in data
        return len(data) <= _QUICK_BYTES and cost.seconds <= _QUICK_SECONDS and png.is_plain(data)

    def preprocess(self, image: Image.Image, started: float) -> Input:
        """Return the input for a decoded image; its duration counts from `started`."""
        row, ood_penalty = preprocess_with_penalty(image, self.spec)
        return Input(row[np.newaxis], time.perf_counter() - started, ood_penalty)

    def normalize(self, crop: Image.Image, started: float) -> Input:
        """Return the input for a crop of a photo model; its duration counts from `started`."""
        assert isinstance(self.spec, PhotoPreprocess)  # noqa: S101
        return Input(normalize_photo(crop, self.spec)[np.newaxis], time.perf_counter() - started)

    def _read(self, data: bytes, reserved: int | None) -> AbstractContextManager[Image.Image]:
        return self.reader.read(
            data, self.min_side, brightness_only=self._brightness_only, reserved=reserved
        )
