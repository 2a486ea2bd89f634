"""Finds the kind of a foreign classifier by the content of its file or folder."""

import argparse
from pathlib import Path
from typing import Protocol

from training.package.imported import Imported
from training.package.kinds import (
    huggingface_folder,
    onnx_graph,
    other_formats,
    sklearn_model,
    tensorflow_model,
    timm_model,
    torch_checkpoint,
)
from training.package.kinds.files import require_content
from training.package.model_spec import PackageError


class Kind(Protocol):
    """A module of this package."""

    def matches(self, path: Path) -> bool:
        """Return whether the file or folder `path` is of this kind; cheap, executes nothing."""

    def read(self, path: Path, options: argparse.Namespace) -> Imported:
        """Return the classifier; raise PackageError with what to type instead.

        `options` are those of the command line. --labels, --preprocess and --output are applied
        by the caller.
        """


# The first that matches reads the file.
KINDS: tuple[Kind, ...] = (
    timm_model,
    huggingface_folder,
    onnx_graph,
    tensorflow_model,
    sklearn_model,
    torch_checkpoint,
    other_formats,
)

KNOWN = (
    "a checkpoint of PyTorch (.pt, .pth, .safetensors), a folder of timm or transformers with "
    "config.json, an ONNX file, a model of Keras, TensorFlow or Teachable Machine (also in a zip), "
    "or an archive of TorchServe"
)


def read_source(options: argparse.Namespace) -> Imported:
    """Return the classifier that the command line names; raise PackageError if it has none."""
    if options.pretrained:
        return torch_checkpoint.read_pretrained(options)
    if options.onnx:
        return onnx_graph.read(options.onnx, options)
    path: Path = options.checkpoint
    if not path.is_dir():
        require_content(path)
    for kind in KINDS:
        if kind.matches(path):
            _require_use(options, kind, path)
            return kind.read(path, options)
    raise PackageError(f"{path} is not a classifier of a known kind; known are {KNOWN}")


def _require_use(options: argparse.Namespace, kind: Kind, path: Path) -> None:
    """Raise PackageError if an option has no effect for the kind of a file."""
    if options.output_name and kind in (torch_checkpoint, timm_model, huggingface_folder):
        raise PackageError(
            f"--output-name is for ONNX graphs and models of TensorFlow; the network of {path} has "
            "one output: leave the option out"
        )
    unused = ("architecture", "head")  # which describe the network, as do the files of most kinds
    if kind is torch_checkpoint:
        return
    for name in unused[:1] if kind is timm_model else unused:
        if getattr(options, name, None):
            raise PackageError(
                f"--{name} is for checkpoints, which hold weights only; {path} describes its "
                "network itself: leave the option out"
            )
