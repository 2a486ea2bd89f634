"""Checkpoints of torchvision's and of Prism's own architectures, and torchvision's weights."""

import argparse
from pathlib import Path
from urllib.error import URLError

import torch
from torch import Tensor, nn

from backend.inference.models import networks, torchvision_compat
from backend.inference.models.checkpoint import read_state_dict, select_tensors
from training.package.imported import ASSUMED, Imported
from training.package.kinds.files import first_bytes, verify_checksum
from training.package.model_spec import PackageError, architecture_spec, spec_from_weights

_SUFFIXES = (".pt", ".pth", ".safetensors", ".bin", ".ckpt", ".tar", ".pkl")
_PICKLE = b"\x80"


def matches(path: Path) -> bool:
    """Return whether a file is called as PyTorch's and safetensors' files are, or is a pickle."""
    return path.is_file() and (path.suffix in _SUFFIXES or first_bytes(path, 1) == _PICKLE)


def read(path: Path, options: argparse.Namespace) -> Imported:
    """Return the network of --architecture with the weights of a checkpoint."""
    digest = verify_checksum(path, options.sha256)
    if not options.architecture:
        raise PackageError(
            f"{path} holds weights without their network; pass --architecture torchvision/NAME"
        )
    tensors = read_state_dict(path)
    name = options.architecture
    return Imported(
        model=build_network(name, tensors),
        architecture=name,
        labels=None,
        spec=architecture_spec(name),
        output="logits",
        origin=f"The architecture `{name}` with the weights of the checkpoint `{path.name}` "
        f"(SHA-256 `{digest}`).",
        provenance={"preprocess": _describe_assumption(name), "output": f"architecture {name}"},
    )


def read_pretrained(options: argparse.Namespace) -> Imported:
    """Return torchvision's published weights, their labels and their preprocessing."""
    name = options.architecture
    family, _, model = name.partition("/")
    if family != "torchvision":
        raise PackageError("--pretrained requires an architecture torchvision/NAME")
    networks.build(name)
    weights = torchvision_compat.load("models").get_model_weights(model).DEFAULT
    spec = spec_from_weights(model, weights)
    try:
        tensors = weights.get_state_dict(progress=False, check_hash=True)
    except (URLError, OSError, RuntimeError) as error:
        raise PackageError(
            f"the weights could not be downloaded from {weights.url}; check the network "
            "connection, or download the file elsewhere and pass it with --checkpoint"
        ) from error
    origin = f"torchvision's weights {weights}"
    return Imported(
        model=build_network(name, tensors),
        architecture=name,
        labels=tuple(weights.meta["categories"]),
        spec=spec,
        output="logits",
        origin=f"The architecture `{name}` with torchvision's published weights.",
        provenance={"preprocess": origin, "labels": origin, "output": f"architecture {name}"},
    )


def build_network(architecture: str, tensors: dict[str, Tensor]) -> nn.Module:
    """Return the network of an architecture with the weights of a checkpoint.

    Raise PackageError if they do not match.
    """
    tensors = networks.rename_tensors(architecture, tensors)
    network = networks.build(architecture, _count_classes(architecture, tensors)).eval()
    tensors = select_tensors(tensors, network.state_dict())
    load_weights(network, tensors, architecture)
    return network


def load_weights(network: nn.Module, tensors: dict[str, Tensor], architecture: str) -> None:
    """Load a state dict; raise PackageError if it does not fit or is not finite."""
    try:
        network.load_state_dict(tensors)
    except RuntimeError as error:
        lines = [line.strip() for line in str(error).splitlines()[1:]]
        reason = lines[0][:200] if lines else "the tensors differ"
        raise PackageError(f"the checkpoint does not fit {architecture}: {reason}") from error
    if not all(bool(torch.isfinite(tensor).all()) for tensor in tensors.values()):
        raise PackageError("the checkpoint contains weights that are not finite")


def _count_classes(architecture: str, tensors: dict[str, Tensor]) -> int:
    """Return the number of classes of a checkpoint: the length of the network's last tensor.

    The order of the checkpoint does not help: safetensors files are sorted by name.
    """
    known = networks.build(architecture).state_dict()
    last = select_tensors(tensors, known).get(list(known)[-1])
    classes = 2 if last is None or not last.ndim else len(last)  # loading reports the error
    if classes < 2:
        raise PackageError(
            "the checkpoint has one output; train a network with one output for each of two or "
            "more classes"
        )
    return classes


def _describe_assumption(architecture: str) -> str:
    family, _, name = architecture.partition("/")
    if family == "torchvision":
        return f"{ASSUMED}torchvision's transforms of {name}"
    return f"architecture {architecture}"
