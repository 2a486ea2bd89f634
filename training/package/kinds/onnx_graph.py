"""ONNX files, and folders and zips with one, such as those of Azure Custom Vision."""

import argparse
from pathlib import Path
from typing import Any, Final

from onnx import TensorProto

from backend.inference.preprocessing.digit_crop import LABELS, DigitPreprocess
from backend.inference.preprocessing.model_input import Preprocess
from backend.inference.preprocessing.photos import PhotoPreprocess
from training.package import onnx_files, onnx_import, onnx_metadata, onnx_scaling
from training.package.imported import ASSUMED, EXPORTED, Imported
from training.package.kinds import bundles
from training.package.kinds.files import first_bytes, read_json, verify_checksum
from training.package.labels import read_labels
from training.package.onnx_import import OnnxGraph
from training.package.onnx_metadata import RAW_STD

SUFFIX: Final = ".onnx"
_CUSTOM_VISION: Final = "metadata_properties.json"
_MULTI_LABEL: Final = "ClassificationMultiLabel"
_MAX_IR_VERSION: Final = 20
_DYNAMIC: Final = (
    "note: the graph is quantized dynamically: the ranges of its integers depend on the batch. "
    "Therefore it runs on one image at a time; quantize_static avoids this"
)
_MAX_DIGIT_SIDE: Final = 32
# Networks of these producers were trained with Keras or scikit-learn.
_KERAS: Final = ("tf2onnx", "keras", "keras2onnx")
_SKLEARN: Final = ("skl2onnx", "OnnxMLTools")
_SKLEARN_DIGITS: Final = 8  # side of the digits that scikit-learn ships, with values of 0 to 16


def matches(path: Path) -> bool:
    """Return whether a file begins with the field `ir_version`, or holds a file called .onnx."""
    if bundles.has_suffix(path, SUFFIX):
        return True
    start = first_bytes(path, 3)
    is_version = len(start) == 3 and start[0] == 8 and start[1] <= _MAX_IR_VERSION
    return path.is_file() and (path.suffix == SUFFIX or is_version)


def read(path: Path, options: argparse.Namespace) -> Imported:
    """Return the graph with the labels and the preprocessing that the files tell."""
    if not bundles.has_suffix(path, SUFFIX):
        digest = verify_checksum(path, options.sha256)
        graph = onnx_import.read_graph(path, options.output_name)
        origin = f"The ONNX classifier `{path.name}` (SHA-256 `{digest}`)."
        return describe(graph, origin, options)
    with bundles.opened(path) as folder:
        file = bundles.only_file(folder, SUFFIX, path)
        digest = verify_checksum(path if path.is_file() else file, options.sha256)
        graph = onnx_import.read_graph(file, options.output_name)
        origin = f"The ONNX classifier `{file.name}` of `{path.name}` (SHA-256 `{digest}`)."
        properties = bundles.find(folder, _CUSTOM_VISION)
        extra = read_json(properties) if properties else {}
        return describe(graph, origin, options, extra, bundles.find_labels(folder))


def describe(
    graph: OnnxGraph,
    origin: str,
    options: argparse.Namespace,
    extra: dict[str, Any] | None = None,
    labels_file: Path | None = None,
) -> Imported:
    """Return a graph with what its metadata, `extra` metadata and its labels file tell."""
    extra = {key: value for key, value in (extra or {}).items() if isinstance(value, str)}
    metadata = extra | {each.key: each.value for each in graph.model.metadata_props}
    provenance = {}
    labels = None
    if labels_file:
        labels, provenance["labels"] = read_labels(labels_file), labels_file.name
    elif found := onnx_metadata.read_labels(metadata):
        labels, provenance["labels"] = found[0], f"metadata {found[1]!r}"
    elif graph.labels:
        labels, provenance["labels"] = graph.labels, "operators of the graph"
    known = read_labels(options.labels) if options.labels else labels
    described = onnx_metadata.read_spec(metadata, graph.size, graph.layout, graph.channels)
    spec: Preprocess | None
    spec, provenance["preprocess"] = described or assume_spec(graph, known)
    if not described and onnx_files.integer_type(graph.model.graph) == TensorProto.INT8:
        spec = None  # the value of a black pixel is unknown
    is_multi = metadata.get("CustomVision.Postprocess.Method") == _MULTI_LABEL
    if is_multi:
        provenance["task"] = "CustomVision.Postprocess.Method"
    return Imported(
        model=graph.model,
        architecture=EXPORTED,
        labels=labels,
        spec=spec,
        output="probabilities" if is_multi else None,
        origin=origin,
        notes=(_DYNAMIC,) if onnx_files.has_dynamic_ranges(graph.model.graph) else (),
        provenance=provenance,
        task="multi-label" if is_multi else None,
    )


def has_known_range(graph: OnnxGraph) -> bool:
    """Return whether the type of the input or its first operators tell the range of the pixels."""
    return graph.is_uint8 or onnx_scaling.detect_range(graph.model.graph) is not None


def assume_spec(graph: OnnxGraph, labels: tuple[str, ...] | None) -> tuple[Preprocess, str]:
    """Return the preprocessing by the graph's input and first operators, and where it comes from.

    Only the range of the values can be known; how an image is resized is always assumed.
    """
    producer = graph.model.producer_name
    largest, why = _detect_range(graph)
    side = graph.side or (None if graph.size else onnx_import.DEFAULT_SIDES[graph.channels])
    if (
        graph.channels == 1
        and side
        and side <= _MAX_DIGIT_SIDE
        and set(labels or LABELS) <= {*LABELS}
    ):
        return _assume_digit(graph, side, largest, why)
    size = graph.size or (side or 0, side or 0)
    imagenet = PhotoPreprocess()
    is_stretched = size[0] != size[1] or producer in (*_KERAS, *_SKLEARN) or graph.channels == 1
    mean: tuple[float, ...] = (0.0,) * 3
    std: tuple[float, ...] = (1.0,) * 3
    values = "values of 0 to 1"
    if largest == 255:
        std, values = (RAW_STD,) * 3, "values of 0 to 255"
    elif largest is None and graph.channels == 3 and producer not in (*_KERAS, *_SKLEARN):
        mean, std, values = imagenet.mean, imagenet.std, "ImageNet's mean and std"
    spec = PhotoPreprocess.model_validate(
        {
            "resize": size if is_stretched else round(size[0] * 256 / 224),
            "crop": size,
            "channels": graph.channels,
            "mean": mean[: graph.channels],
            "std": std[: graph.channels],
            "layout": graph.layout,
        }
    )
    geometry = "resized to the input" if is_stretched else "resized and cropped as for ImageNet"
    return spec, f"{ASSUMED}{geometry}; {values}" + (f" ({why})" if largest else ", assumed too")


def _assume_digit(
    graph: OnnxGraph, side: int, largest: int | None, why: str
) -> tuple[Preprocess, str]:
    spec = DigitPreprocess(size=side, box=round(side * 20 / 28), layout=graph.layout)
    producer = graph.model.producer_name
    if producer in _SKLEARN and side == _SKLEARN_DIGITS and not largest:
        largest, why = 16, "as the digits that scikit-learn ships"
    if largest or producer in (*_KERAS, *_SKLEARN):
        spec = spec.model_copy(update={"mean": 0.0, "std": 1 / (largest or 1)})
        values = f"values of 0 to {largest or 1}"
    else:
        values = "MNIST's mean and std"
    return spec, f"{ASSUMED}digits, white on black; {values}" + (f" ({why})" if largest else "")


def _detect_range(graph: OnnxGraph) -> tuple[int | None, str]:
    """Return the largest value of the pixels, None if nothing tells it, and what tells it."""
    if graph.is_uint8:
        return 255, "the input has the type uint8"
    if onnx_files.integer_type(graph.model.graph) is not None:
        return 255, "the input has an integer type"
    if found := onnx_scaling.detect_range(graph.model.graph):
        return found, "the graph scales them itself"
    if largest := onnx_scaling.detect_feature_range(graph.model.graph):
        return largest, "thresholds in the graph"
    if graph.model.producer_name in _KERAS and onnx_scaling.has_small_weights(graph.model.graph):
        return 255, "the weights of the first layer are small"
    return None, ""
