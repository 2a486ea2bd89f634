"""ONNX files."""

import argparse
from pathlib import Path

from training.package import onnx_import
from training.package.imported import ASSUMED, EXPORTED, Imported
from training.package.kinds.files import first_bytes, verify_checksum
from training.package.model_spec import read_spec

_MAX_IR_VERSION = 20


def matches(path: Path) -> bool:
    """Return whether a file begins with the field `ir_version`, or is called .onnx."""
    start = first_bytes(path, 3)
    is_version = len(start) == 3 and start[0] == 8 and start[1] <= _MAX_IR_VERSION
    return path.is_file() and (path.suffix == ".onnx" or is_version)


def read(path: Path, options: argparse.Namespace) -> Imported:
    """Return the graph with the preset that fits its channels."""
    digest = verify_checksum(path, options.sha256)
    graph = onnx_import.read_graph(path)
    preset = "imagenet" if graph.channels == 3 else "digit"
    spec = read_spec(preset, graph.side).model_copy(update={"layout": graph.layout})
    return Imported(
        model=graph.model,
        architecture=EXPORTED,
        labels=None,
        spec=spec,
        output=None,
        origin=f"The ONNX classifier `{path.name}` (SHA-256 `{digest}`).",
        provenance={"preprocess": f"{ASSUMED}{preset}, by the shape of the input"},
    )
