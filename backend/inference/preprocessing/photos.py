"""Photo -> the input of a photo classifier.

The steps are those of torchvision's `Resize`, `CenterCrop`, `ToTensor` and `Normalize` on PIL
images. Only the crop is resampled, on the grid of the resized image: Pillow rounds its edges to
float32, so that some values differ from torchvision's by one level of 255 (docs/performance.md).
"""

import math
from typing import Annotated, Any, Final, Literal, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps
from pydantic import BaseModel, Field, model_validator

from backend.inference.types import Region

Side = Annotated[int, Field(ge=1, le=4096)]
Interpolation = Literal["nearest", "bilinear", "bicubic", "lanczos"]

# Pixels of the image, times its reduction, on which a pixel of the resized image depends, on each
# side of its center.
_SUPPORT: Final = {"nearest": 1, "bilinear": 1, "bicubic": 2, "lanczos": 3}
_TALL: Final = 2  # aspect ratio from which Pillow reduces the height first
# Images that are not longer are resized as a whole if they have more pixels, because resizing a
# part takes a copy of it, or with "nearest", because rounding would select other pixels.
_MAX_WHOLE_ASPECT: Final = 3
_MAX_COPIED: Final = 1_000_000  # pixels


class _SourceRange(NamedTuple):
    """Pixels of one axis of an image: those that a part needs, and in these the part itself."""

    start: int
    end: int
    low: float
    high: float

    @classmethod
    def of(cls, length: int, resized: int, first: int, last: int, support: int) -> Self:
        """Return the source of the pixels from `first` to `last` of `resized` ones."""
        scale = length / resized
        margin = support * max(scale, 1) + 1
        start = max(math.floor(first * scale - margin), 0)
        end = min(math.ceil(last * scale + margin), length)
        return cls(start, end, first * scale - start, min(last * scale - start, end - start))


class PhotoPreprocess(BaseModel, frozen=True, extra="forbid"):
    """How a photo becomes an input: (x / 255 - mean) / std for each channel.

    A model that takes values of 0 to 255 has a mean of 0 and a std of 1/255. `"channels": "BGR"` is
    read as three channels with the color BGR.
    """

    kind: Literal["image"] = "image"
    resize: Side | tuple[Side, Side] | None = Field(
        256,
        description="the shorter side, or (height, width) regardless of aspect; null: no resizing",
    )
    crop: tuple[Side, Side] = Field((224, 224), description="height and width of the center crop")
    crop_rounding: Literal["nearest", "down", "none"] = Field(
        "nearest",
        description="of the crop's first row and column: to the nearest even number for halves as "
        "torchvision does, or down as transformers does; none: the central square of the image is "
        "resized to the crop as Pillow's ImageOps.fit does",
    )
    interpolation: Interpolation = "bilinear"
    channels: Literal[1, 3] = 3
    color: Literal["RGB", "BGR"] = Field("RGB", description="order of three channels")
    mean: tuple[float, ...] = Field(
        (0.485, 0.456, 0.406), description="of values in [0, 1], in the order of the channels"
    )
    std: tuple[Annotated[float, Field(gt=0)], ...] = (0.229, 0.224, 0.225)
    layout: Literal["NCHW", "NHWC", "flat"] = Field(
        "NCHW", description="of the model's input; flat: (N, height * width * channels)"
    )

    @model_validator(mode="before")
    @classmethod
    def _read_color(cls, values: Any) -> Any:
        if isinstance(values, dict) and values.get("channels") in ("RGB", "BGR"):
            return {"color": values["channels"]} | values | {"channels": 3}
        return values

    @model_validator(mode="after")
    def _check_channels(self) -> Self:
        if not len(self.mean) == len(self.std) == self.channels:
            raise ValueError(f"mean and std need {self.channels} numbers each")
        if self.color == "BGR" and self.channels == 1:
            raise ValueError("the color BGR requires three channels")
        if self.crop_rounding == "none" and self.crop != (self.resize, self.resize):
            raise ValueError("crop_rounding none requires a square crop with the side of resize")
        return self

    @property
    def decoded_side(self) -> int | None:
        """Minimum pixels of the shorter side in scaled decoding; None: do not scale."""
        if self.resize is None:
            return None
        longest = self.resize if isinstance(self.resize, int) else max(self.resize)
        return longest + longest // 4

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of one input, without the batch dimension."""
        height, width = self.crop
        if self.layout == "NCHW":
            return (self.channels, height, width)
        if self.layout == "NHWC":
            return (height, width, self.channels)
        return (height * width * self.channels,)


def prepare_photo(image: Image.Image, spec: PhotoPreprocess) -> NDArray[np.float32]:
    """Return an RGB image resized, cropped and normalized, float32 of `spec.input_shape`."""
    return normalize_photo(crop_photo(image, spec), spec)


def normalize_photo(crop: Image.Image, spec: PhotoPreprocess) -> NDArray[np.float32]:
    """Return the input, float32 of `spec.input_shape`, for what `crop_photo` returned."""
    channels = crop.split()
    if spec.color == "BGR":
        channels = channels[::-1]
    inputs = np.empty(spec.input_shape, dtype=np.float32)
    planes = to_planes(inputs[np.newaxis], spec)[0]
    for plane, channel, mean, std in zip(planes, channels, spec.mean, spec.std, strict=True):
        plane[:] = np.frombuffer(channel.tobytes(), dtype=np.uint8).reshape(spec.crop)
        plane /= 255 * std
        plane -= mean / std
    return inputs


def to_planes(rows: NDArray[np.float32], spec: PhotoPreprocess) -> NDArray[np.float32]:
    """Return inputs (N, *spec.input_shape) as a view (N, channels, height, width)."""
    if spec.layout == "NCHW":
        return rows
    return rows.reshape(-1, *spec.crop, spec.channels).transpose(0, 3, 1, 2)


def crop_photo(image: Image.Image, spec: PhotoPreprocess) -> Image.Image:
    """Return the center crop of the resized image, padded with black if the crop is larger.

    The crop has the mode RGB, or L for a model with one channel.
    """
    if spec.channels == 1:
        image = image.convert("L")
    if spec.crop_rounding == "none":
        return ImageOps.fit(image, spec.crop, Image.Resampling[spec.interpolation.upper()])
    height, width = _resized_size(image, spec.resize)
    crop_height, crop_width = spec.crop
    top, bottom = _crop_range(height, crop_height, spec)
    left, right = _crop_range(width, crop_width, spec)
    if (width, height) == image.size:
        cropped = image.crop((left, top, right, bottom))
    elif isinstance(spec.resize, tuple) or _is_resized_as_a_whole(image, spec):
        method = Image.Resampling[spec.interpolation.upper()]
        cropped = image.resize((width, height), method).crop((left, top, right, bottom))
    else:
        cropped = _resize_part(image, (width, height), (left, top, right, bottom), spec)
    if cropped.size == (crop_width, crop_height):
        return cropped
    padded = Image.new(cropped.mode, (crop_width, crop_height))
    padded.paste(cropped, ((crop_width - cropped.width) // 2, (crop_height - cropped.height) // 2))
    return padded


def _is_resized_as_a_whole(image: Image.Image, spec: PhotoPreprocess) -> bool:
    if max(image.size) > _MAX_WHOLE_ASPECT * min(image.size):
        return False
    return spec.interpolation == "nearest" or image.width * image.height > _MAX_COPIED


def _resize_part(
    image: Image.Image,
    size: tuple[int, int],
    part: tuple[int, int, int, int],
    spec: PhotoPreprocess,
) -> Image.Image:
    """Return `part` (left, top, right, bottom) of the image resized to `size` (width, height).

    Each axis has its own call, in Pillow's order for the whole image: in one call, Pillow would
    choose the order by the size of the part, which changes the rounding between the passes.
    """
    method, support = Image.Resampling[spec.interpolation.upper()], _SUPPORT[spec.interpolation]
    left, top, right, bottom = part
    width, height = right - left, bottom - top
    x = _SourceRange.of(image.width, size[0], left, right, support)
    y = _SourceRange.of(image.height, size[1], top, bottom, support)
    window = image.crop((x.start, y.start, x.end, y.end))
    if image.height > _TALL * image.width and size[1] < image.height:
        strip = window.resize((window.width, height), method, (0, y.low, window.width, y.high))
        return strip.resize((width, height), method, (x.low, 0, x.high, height))
    strip = window.resize((width, window.height), method, (x.low, 0, x.high, window.height))
    return strip.resize((width, height), method, (0, y.low, width, y.high))


def photo_region(image: Image.Image, spec: PhotoPreprocess) -> Region:
    """Return the part of the image that the crop shows, including the crop's padding."""
    height, width = _resized_size(image, spec.resize)
    top, bottom = _padded_range(height, spec.crop[0], spec)
    left, right = _padded_range(width, spec.crop[1], spec)
    return Region(left / width, top / height, right / width, bottom / height)


def _resized_size(image: Image.Image, resize: int | tuple[int, int] | None) -> tuple[int, int]:
    """Return height and width after resizing, rounded as torchvision does."""
    if resize is None:
        return image.height, image.width
    if isinstance(resize, tuple):
        return resize
    if image.width <= image.height:
        return int(resize * image.height / image.width), resize
    return resize, int(resize * image.width / image.height)


def _crop_range(length: int, crop: int, spec: PhotoPreprocess) -> tuple[int, int]:
    """Return the start and end of the crop along one axis."""
    if crop >= length:
        return 0, length
    margin = length - crop
    start = margin // 2 if spec.crop_rounding == "down" else round(margin / 2)
    return start, start + crop


def _padded_range(length: int, crop: int, spec: PhotoPreprocess) -> tuple[int, int]:
    """Return the start and end of the crop with its padding along one axis."""
    start = _crop_range(length, crop, spec)[0] if crop < length else -((crop - length) // 2)
    return start, start + crop
