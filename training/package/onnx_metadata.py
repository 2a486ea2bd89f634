"""What the metadata of an ONNX file says about labels and preprocessing.

Sources: ultralytics' exporter; https://github.com/onnx/onnx/blob/main/docs/MetadataProps.md, which
Azure Custom Vision follows.
"""

import ast
import json
from collections.abc import Mapping
from typing import Any, Final

from backend.inference.preprocessing.photos import PhotoPreprocess
from training.package.labels import KEYS, parse_labels
from training.package.model_spec import PackageError
from training.package.onnx_files import OnnxImportError

Metadata = Mapping[str, str]

RAW_STD: Final = 1 / 255  # with a mean of 0: values of 0 to 255
_FORMAT: Final = "Image.BitmapPixelFormat"
_RANGE: Final = "Image.NominalPixelRange"
# Mean and std of each range.
_RANGES: Final = {
    "nominalrange_0_255": (0.0, RAW_STD),
    "normalized_0_1": (0.0, 1.0),
    "normalized_1_1": (0.5, 0.5),
}
_MAX_LITERAL: Final = 10_000_000  # characters


def read_labels(metadata: Metadata) -> tuple[tuple[str, ...], str] | None:
    """Return the labels and their key, or None; raise PackageError if labels occur twice."""
    for key in KEYS:
        text = metadata.get(key, "")
        value = _parse(text)
        if isinstance(value, str):
            lines = value.splitlines() if "\n" in value else value.split(",")
            value = [line.strip() for line in lines] if len(lines) > 1 else None
        try:
            labels = parse_labels(value)
        except PackageError as error:
            raise OnnxImportError(f"the metadata {key!r}: {error}; pass --labels") from error
        if labels:
            return labels, key
    return None


def read_spec(
    metadata: Metadata, size: tuple[int, int] | None, layout: str, channels: int
) -> tuple[PhotoPreprocess, str] | None:
    """Return the preprocessing and where it comes from, or None if the metadata has none.

    `size` is that of the graph's input. Raise OnnxImportError for a network that is no classifier.
    """
    if metadata.get("author") == "Ultralytics" or {"task", "stride", "names"} <= metadata.keys():
        return _read_ultralytics(metadata, size, layout, channels)
    if _FORMAT in metadata or _RANGE in metadata:
        return _read_windows(metadata, size, layout, channels)
    return None


def _read_ultralytics(
    metadata: Metadata, size: tuple[int, int] | None, layout: str, channels: int
) -> tuple[PhotoPreprocess, str]:
    task = metadata.get("task", "classify")
    if task != "classify":
        raise OnnxImportError(
            f"the network was exported by ultralytics for the task {task!r}; only classify has "
            "one score for each class"
        )
    sides = _parse(metadata.get("imgsz", ""))
    crop = size or (tuple(sides) if isinstance(sides, list | tuple) else (sides, sides))
    if len(crop) != 2 or not all(isinstance(side, int) for side in crop):
        crop = (224, 224)
    height, width = crop
    spec = PhotoPreprocess.model_validate(
        {
            "resize": height if height == width else crop,
            "crop": crop,
            "channels": channels,
            "mean": (0.0,) * channels,
            "std": (1.0,) * channels,
            "layout": layout,
        }
    )
    return spec, "ultralytics' metadata (task, imgsz)"


def _read_windows(
    metadata: Metadata, size: tuple[int, int] | None, layout: str, channels: int
) -> tuple[PhotoPreprocess, str]:
    color = metadata.get(_FORMAT, "Rgb8").lower()
    scale = metadata.get(_RANGE, "Normalized_0_1").lower()
    if color not in ("rgb8", "bgr8", "gray8") or scale not in _RANGES:
        raise OnnxImportError(
            f"the metadata describes inputs of {metadata.get(_FORMAT)} in "
            f"{metadata.get(_RANGE)}, which are not supported; pass --preprocess FILE.json"
        )
    mean, std = _RANGES[scale]
    crop = size or (224, 224)
    spec = PhotoPreprocess.model_validate(
        {
            "resize": crop,  # regardless of the aspect ratio, as Custom Vision's example does
            "crop": crop,
            "interpolation": "bicubic",
            "channels": channels,
            "color": "BGR" if color == "bgr8" and channels != 1 else "RGB",
            "mean": (mean,) * channels,
            "std": (std,) * channels,
            "layout": layout,
        }
    )
    return spec, f"metadata {_FORMAT}, {_RANGE}"


def _parse(text: str) -> Any:
    """Return a value in JSON or a literal of Python; the text itself if it is neither."""
    if len(text) > _MAX_LITERAL:
        return None
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        pass
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError, TypeError):
        return text
