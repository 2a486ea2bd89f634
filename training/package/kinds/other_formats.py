"""Files of formats that are refused, with what to package or to type instead."""

import argparse
import shlex
from pathlib import Path
from typing import Final, NoReturn

from training.package.model_spec import PackageError

_FROM_ONNX: Final = "it was compiled from another file; package the ONNX file it was made from"
_ADVICE: Final = {
    ".pb": "it is a frozen graph of TensorFlow; convert it by the names of its input and output:\n"
    "    python -m pip install tensorflow tf2onnx\n"
    "    python -m tf2onnx.convert --graphdef {path} --output model.onnx --inputs INPUT:0 "
    "--outputs OUTPUT:0\n"
    "    .venv/bin/python -m training.package {name} model.onnx",
    ".pdmodel": "convert it with paddle2onnx (pip install paddle2onnx), and package model.onnx:\n"
    "    paddle2onnx --model_dir {folder} --model_filename {file} --params_filename "
    "{stem}.pdiparams --save_file model.onnx",
    ".index": "it is a checkpoint of TensorFlow, which holds no network; save the model with "
    "model.save('model.keras') or model.export('folder'), and package that",
    ".mlmodel": "it is a model of Core ML; export the network that it was converted from to ONNX",
    ".mlpackage": "it is a model of Core ML; export the network that it was converted from to ONNX",
    ".engine": _FROM_ONNX,
    ".plan": _FROM_ONNX,
    ".trt": _FROM_ONNX,
    ".xml": "it may be a model of OpenVINO; package the ONNX file it was made from",
    ".ort": "it was optimized for one machine; package the .onnx file it was made from",
    ".caffemodel": "Caffe has no maintained converter; export the network from PyTorch to ONNX",
}


def matches(path: Path) -> bool:
    """Return whether the name ends as those of a known format that is refused."""
    return path.suffix.lower() in _ADVICE


def read(path: Path, options: argparse.Namespace) -> NoReturn:
    """Raise PackageError with what to do instead."""
    names = {"path": path, "folder": path.parent, "file": path.name, "stem": path.stem}
    quoted = {key: shlex.quote(str(value)) for key, value in names.items()}
    advice = _ADVICE[path.suffix.lower()].format(name=options.name, **quoted)
    raise PackageError(f"{path} is not packaged: {advice}")
