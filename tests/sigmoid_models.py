"""Tiny ONNX classifiers with independent outputs, which look at the color of an image.

Output k of a graph is the logit `_SLOPE * (channel k - 0.5)` of the mean red, green or blue, in
[0, 1]: an image has the label `red` if it is reddish, and so on.
"""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

from backend.inference.models import artifact
from backend.inference.models.artifact import Artifact, Manifest
from backend.inference.preprocessing.photos import PhotoPreprocess
from tests.images import encoded

SIDE = 8
COLORS = ("red", "green", "blue")
_SLOPE = 8.0
SPEC = PhotoPreprocess(resize=None, crop=(SIDE, SIDE), mean=(0, 0, 0), std=(1, 1, 1))


def color(red: float, green: float, blue: float) -> bytes:
    """Return a PNG of one color; the channels are in [0, 1]."""
    values = tuple(round(255 * each) for each in (red, green, blue))
    return encoded(Image.new("RGB", (SIDE, SIDE), values))


def logits(red: float, green: float, blue: float) -> list[float]:
    """Return the logits for an image of one color."""
    return [_SLOPE * (round(255 * each) / 255 - 0.5) for each in (red, green, blue)]


def write_graph(path: Path, outputs: int = 3, *, sigmoid: bool = False, flat: bool = False) -> Path:
    """Write a graph with logits, or with a Sigmoid as last node; `flat`: shape (N,) if one."""
    weight = (_SLOPE * np.eye(3, outputs)).astype(np.float32)
    bias = np.full(outputs, -_SLOPE / 2, np.float32)
    nodes = [
        helper.make_node("GlobalAveragePool", ["x"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["means"], axis=1),
        helper.make_node("Gemm", ["means", "weight", "bias"], ["logits"]),
    ]
    name = "logits"
    if sigmoid:
        nodes.append(helper.make_node("Sigmoid", [name], ["shares"]))
        name = "shares"
    shape: list[int | str] = ["n", outputs]
    if flat:
        nodes.append(helper.make_node("Squeeze", [name, "axis"], ["scores"]))
        name, shape = "scores", ["n"]
    graph = helper.make_graph(
        nodes,
        "colors",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3, SIDE, SIDE])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)],
        [
            numpy_helper.from_array(weight, "weight"),
            numpy_helper.from_array(bias, "bias"),
            numpy_helper.from_array(np.array([1], np.int64), "axis"),
        ],
    )
    opset = [helper.make_opsetid("", 18)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=10), path)
    return path


def write_model(models_dir: Path, task: str = "multi-label", **fields: Any) -> Artifact:
    """Write the model folder `colors`: multi-label with three labels, or binary about red."""
    folder = models_dir / "colors"
    folder.mkdir(parents=True)
    is_binary = task == "binary"
    sigmoid = fields.get("output") == "probabilities"
    write_graph(folder / artifact.ONNX, 1 if is_binary else 3, sigmoid=sigmoid)
    labels = ("other", "red") if is_binary else COLORS
    defaults: dict[str, Any] = {
        "name": "colors",
        "version": "1",
        "architecture": "onnx",
        "labels": labels,
    }
    defaults |= {"task": task, "preprocess": SPEC, "files": {}}
    return artifact.write_manifest(folder, Manifest.model_validate(defaults | fields))
