"""Checkpoints of torchvision's and of Prism's own architectures, and torchvision's weights."""

import argparse
import math
from dataclasses import replace
from pathlib import Path
from urllib.error import URLError

from torch import Tensor, nn

from backend.inference.models import networks, torchvision_compat
from backend.inference.models.checkpoint import select_tensors
from backend.inference.preprocessing.model_input import Preprocess
from backend.inference.preprocessing.photos import PhotoPreprocess
from calibration.sigmoid import SINGLE_LABEL
from training.package import heads
from training.package.imported import ASSUMED, EXPORTED, Imported
from training.package.kinds import fastai_model, timm_model
from training.package.kinds.files import verify_checksum
from training.package.kinds.recipes import suggest_architecture
from training.package.kinds.torch_file import is_torch_file, load_weights, read_tensors
from training.package.model_spec import PackageError, architecture_spec, spec_from_weights

_SUFFIXES = (".pt", ".pth", ".safetensors", ".bin", ".ckpt", ".tar", ".pkl", ".pt2", ".th")
_POSITIONS = "encoder.pos_embedding"  # of torchvision's vit: (1, 1 + patches, width)


def matches(path: Path) -> bool:
    """Return whether a file is called as PyTorch's and safetensors' files are, or is a pickle."""
    return path.is_file() and (path.suffix.lower() in _SUFFIXES or is_torch_file(path))


def read(path: Path, options: argparse.Namespace) -> Imported:
    """Return the network of --architecture with the weights of a checkpoint."""
    digest = verify_checksum(path, options.sha256)
    tensors = read_tensors(path, options.name)
    name = options.architecture
    if not name:
        hint = (
            f". If {path.parent} was downloaded from a hub, pass the folder itself"
            if (path.parent / "config.json").is_file()
            else ""
        )
        raise PackageError(
            f"{path} holds weights without their network; {suggest_architecture(path)}{hint}"
        )
    origin = (
        f"The architecture `{name}` with the weights of the checkpoint `{path.name}` (SHA-256 "
        f"`{digest}`)."
    )
    if name.startswith("timm/"):
        return replace(timm_model.from_tensors(name, tensors, options.head), origin=origin)
    if fastai_model.is_fastai(tensors) and not options.head:
        network = fastai_model.build_network(name, tensors).eval()
        load_weights(network, tensors, f"{name} with fastai's head")
        return Imported(
            model=network,
            architecture=EXPORTED,
            labels=None,
            spec=fastai_model.SPEC,
            output="logits",
            origin=origin,
            provenance={
                "preprocess": f"{ASSUMED}fastai's, with Resize(224)",
                "output": f"architecture {name}",
            },
        )
    imported = build(name, tensors, options.head)
    return replace(imported, origin=origin)


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
    source = f"torchvision's weights {weights}"
    imported = build(name, tensors)
    return replace(
        imported,
        labels=tuple(weights.meta["categories"]),
        spec=spec,
        origin=f"The architecture `{name}` with torchvision's published weights.",
        task=SINGLE_LABEL,
        provenance=imported.provenance | {"preprocess": source, "labels": source, "task": source},
    )


def build(architecture: str, tensors: dict[str, Tensor], head: str | None = None) -> Imported:
    """Return the network of an architecture with the weights of a checkpoint, and its spec.

    `head` replaces its last layers. Raise PackageError if network and weights do not match.
    """
    tensors = networks.rename_tensors(architecture, tensors)
    spec, source = architecture_spec(architecture), _describe_assumption(architecture)
    classes = _count_classes(architecture, tensors)
    network = networks.build(architecture, classes)
    rebuilt = True  # whether the architecture's name is enough to build the network again
    if size := _read_vit_size(network, tensors):
        network, spec = _resize_vit(architecture, classes, size)
        rebuilt = False
    load_weights(network, heads.fit_head(network, head, tensors, architecture), architecture)
    return Imported(
        model=network,
        architecture=architecture if rebuilt and not head else EXPORTED,
        labels=None,
        spec=spec,
        output="probabilities" if head and heads.is_probability(network) else "logits",
        origin="",
        provenance={"preprocess": source, "output": "--head" if head else architecture},
    )


def _read_vit_size(network: nn.Module, tensors: dict[str, Tensor]) -> int | None:
    """Return the size of the images that a vit of torchvision was trained on, unless it is 224."""
    positions = select_tensors(tensors, network.state_dict()).get(_POSITIONS)
    if positions is None or positions.ndim != 3:
        return None
    size = int(network.patch_size) * math.isqrt(positions.shape[1] - 1)  # type: ignore[arg-type]
    return None if size == network.image_size else size


def _resize_vit(architecture: str, classes: int, size: int) -> tuple[nn.Module, Preprocess]:
    """Return the network for images of `size` pixels, and the spec of published weights of it."""
    name = architecture.removeprefix("torchvision/")
    models = torchvision_compat.load("models")
    network = models.get_model(name, weights=None, num_classes=classes, image_size=size)
    specs = [spec_from_weights(name, weights) for weights in models.get_model_weights(name)]
    default = PhotoPreprocess(resize=size, crop=(size, size), interpolation="bicubic")
    return network, next((spec for spec in specs if spec.crop == (size, size)), default)


def _count_classes(architecture: str, tensors: dict[str, Tensor]) -> int:
    """Return the number of classes of a checkpoint: the length of the network's last tensor.

    The order of the checkpoint does not help: safetensors files are sorted by name.
    """
    known = networks.build(architecture).state_dict()
    last = select_tensors(tensors, known).get(list(known)[-1])
    return 2 if last is None or not last.ndim else len(last)  # loading reports the error


def _describe_assumption(architecture: str) -> str:
    family, _, name = architecture.partition("/")
    if family == "torchvision":
        return f"{ASSUMED}torchvision's transforms of {name}"
    return f"architecture {architecture}"
