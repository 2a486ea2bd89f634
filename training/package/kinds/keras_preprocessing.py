"""How images become inputs of networks of Keras, TensorFlow Lite and Teachable Machine.

Source: keras.applications, `preprocess_input` of each architecture; the code that Teachable Machine
exports with its models.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from backend.inference.preprocessing.photos import PhotoPreprocess
from training.package.imported import ASSUMED
from training.package.onnx_import import OnnxGraph
from training.package.onnx_metadata import RAW_STD

# Color, mean and std of the modes of keras.applications.
_TF: Final = ("RGB", (0.5,) * 3, (0.5,) * 3)
_TORCH: Final = ("RGB", (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
_CAFFE: Final = ("BGR", tuple(mean / 255 for mean in (103.939, 116.779, 123.68)), (RAW_STD,) * 3)
# A layer's name, by which an architecture is found, also in a network without its own name.
_ARCHITECTURES: Final = (
    (r"mobilenetv2_|bn_Conv1|expanded_conv_depthwise", "mobilenet_v2", _TF),
    (r"mobilenet_\d|conv_dw_1\b", "mobilenet", _TF),
    (r"resnet\d+v2|conv2_block1_preact_bn", "resnet_v2", _TF),
    (r"resnet\d+\b|conv2_block1_1_conv", "resnet", _CAFFE),
    (r"vgg1[69]", "vgg", _CAFFE),
    (r"xception|block1_conv1_bn", "xception", _TF),
    (r"block1_conv1", "vgg", _CAFFE),
    (r"inception_resnet_v2", "inception_resnet_v2", _TF),
    (r"inception_v3", "inception_v3", _TF),
    (r"densenet\d+|conv2_block1_0_bn", "densenet", _TORCH),
    (r"nasnet", "nasnet", _TF),
)


def find_architecture(
    layers: Sequence[Sequence[str]], graph: OnnxGraph
) -> tuple[PhotoPreprocess, str] | None:
    """Return the preprocessing of a known architecture; None for another one.

    It is found by the names in a list of (class, name) and in the nodes of the graph.
    """
    if graph.channels != 3 or graph.size is None:
        return None
    names = [name for _, name in layers]
    names += [part for node in graph.model.graph.node for part in node.name.split("/")]
    for pattern, architecture, (color, mean, std) in _ARCHITECTURES:
        if any(re.match(pattern, name) for name in names):
            spec = _make(graph, color=color, mean=mean, std=std)
            source = f"keras.applications.{architecture}.preprocess_input, resized to the input"
            return spec, f"{ASSUMED}{source}"
    return None


def teachable_machine(graph: OnnxGraph) -> tuple[PhotoPreprocess, str]:
    """Return the preprocessing of Teachable Machine: a central square, values of -1 to 1."""
    channels = graph.channels
    values = {"mean": (0.5,) * channels, "std": (0.5,) * channels, "interpolation": "lanczos"}
    side = graph.side or 224
    spec = _make(graph, resize=side, crop=(side, side), crop_rounding="none", **values)
    return spec, "Teachable Machine's exported code"


def quantized(graph: OnnxGraph, facts: Mapping[str, Any]) -> tuple[PhotoPreprocess, str] | None:
    """Return the preprocessing of a network whose input is quantized; None for another one.

    The input is pixels, less 128 if it is signed. With mean and std in the metadata, it is their
    result in units of the quantization: value / scale + zero.
    """
    lowest = {"uint8": 0, "int8": -128}.get(facts.get("dtype", ""))
    if lowest is None or not facts.get("scale") or graph.size is None:
        return None
    channels = graph.channels
    if described := normalized(graph, facts):
        spec, source = described
        std = [value * facts["scale"] for value in spec.std]
        mean = [m - facts["zero"] * s for m, s in zip(spec.mean, std, strict=True)]
        return _make(graph, mean=mean, std=std), source
    spec = _make(graph, mean=(-lowest / 255,) * channels, std=(RAW_STD,) * channels)
    return spec, f"{ASSUMED}resized to the input; pixels of 0 to 255 by the type of the input"


def normalized(graph: OnnxGraph, facts: Mapping[str, Any]) -> tuple[PhotoPreprocess, str] | None:
    """Return the preprocessing by the mean and std in TensorFlow Lite's metadata; else None.

    They are those of pixels of 0 to 255, one or one for each channel.
    """
    if not facts.get("normalization") or graph.size is None:
        return None
    mean, std = ([value / 255 for value in row] for row in facts["normalization"])
    mean, std = (row * graph.channels if len(row) == 1 else row for row in (mean, std))
    if len(mean) != graph.channels or len(std) != graph.channels or min(std) <= 0:
        return None
    spec = _make(graph, mean=mean, std=std)
    return spec, f"{ASSUMED}resized to the input; values by the metadata of TensorFlow Lite"


def _make(graph: OnnxGraph, **values: Any) -> PhotoPreprocess:
    shape = {"resize": graph.size, "crop": graph.size, "layout": graph.layout}
    return PhotoPreprocess.model_validate(shape | {"channels": graph.channels} | values)
