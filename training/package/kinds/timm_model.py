"""Models of timm: checkpoints (`--architecture timm/NAME`) and folders of its hub.

A folder holds config.json with `architecture` and `pretrained_cfg`, and model.safetensors or
pytorch_model.bin. The network is built by timm, which packaging needs and serving does not.
"""

import argparse
import math
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any, Final

from torch import Tensor, nn

from backend.inference.models import torchvision_compat
from backend.inference.models.checkpoint import select_tensors
from backend.inference.preprocessing.photos import PhotoPreprocess
from training.package import heads
from training.package.imported import ASSUMED, EXPORTED, Imported
from training.package.kinds.files import read_json, verify_checksum
from training.package.kinds.torch_file import load_weights, read_tensors
from training.package.labels import parse_labels
from training.package.model_spec import PackageError

_CONFIG: Final = "config.json"
_WEIGHTS: Final = ("model.safetensors", "pytorch_model.bin", "open_clip_pytorch_model.bin")
_INTERPOLATIONS: Final = ("nearest", "bilinear", "bicubic", "lanczos")
_FAMILY: Final = "timm/"
# Of a pretrained_cfg, what the preprocessing is made of; timm has defaults for the rest.
_PREPROCESSING: Final = ("input_size", "mean", "std", "interpolation", "crop_pct", "crop_mode")


def matches(path: Path) -> bool:
    """Return whether a folder was downloaded from timm's hub."""
    try:
        config = read_json(path / _CONFIG)
    except PackageError:
        return False
    return isinstance(config.get("pretrained_cfg"), dict) and "architecture" in config


def read(path: Path, options: argparse.Namespace) -> Imported:
    """Return the network of a folder with its labels and its preprocessing."""
    config = read_json(path / _CONFIG)
    weights = next((path / name for name in _WEIGHTS if (path / name).is_file()), None)
    if weights is None:
        raise PackageError(f"{path} contains no {' or '.join(_WEIGHTS[:2])}; download the weights")
    digest = verify_checksum(weights, options.sha256)
    arguments = config.get("model_args") or {}
    pretrained_cfg: dict[str, Any] = config["pretrained_cfg"]
    if not isinstance(arguments, dict):
        raise PackageError(f"{path / _CONFIG}: model_args is not an object")
    name = f"{_FAMILY}{config['architecture']}"
    imported = from_tensors(
        name,
        read_tensors(weights, options.name),
        options.head,
        arguments=arguments | {"global_pool": config["global_pool"]}
        if isinstance(config.get("global_pool"), str)
        else arguments,
        pretrained_cfg=pretrained_cfg,
    )
    provenance = imported.provenance
    if labels := parse_labels(config.get("label_names") or pretrained_cfg.get("label_names")):
        provenance = provenance | {"labels": f"label_names in {_CONFIG}"}
    origin = f"The architecture `{name}` with the weights of `{path.name}` (SHA-256 `{digest}`)."
    return replace(imported, labels=labels or imported.labels, provenance=provenance, origin=origin)


def from_tensors(
    architecture: str,
    tensors: dict[str, Tensor],
    head: str | None = None,
    *,
    arguments: dict[str, Any] | None = None,
    pretrained_cfg: dict[str, Any] | None = None,
) -> Imported:
    """Return the network timm/NAME with the weights of a checkpoint.

    `arguments` are those of `timm.create_model`. `pretrained_cfg` describes the preprocessing;
    without one, it is that of timm's own weights of this name, which is a guess. Raise
    PackageError if timm is not installed, or if network and weights do not match.
    """
    timm = _import_timm()
    name = architecture.removeprefix(_FAMILY)
    if not timm.is_model(name.partition(".")[0]):
        raise PackageError(
            f'timm {timm.__version__} has no model named {name!r}; `python -c "import timm; '
            f"print(timm.list_models('*{name[:6]}*'))\"` lists them"
        )
    arguments = {key: value for key, value in (arguments or {}).items() if key != "num_classes"}
    network = _create(timm, name, 10, arguments)
    classifier = _classifier_name(network)
    classes = _count_classes(network, classifier, tensors)
    if classes != 10 and not head:
        network = _create(timm, name, classes, arguments)
    network.eval()
    if head:
        tensors = heads.replace_head(network, head, tensors)
        network.eval()
    elif suggestion := heads.suggest(network, tensors):
        raise PackageError(
            f"the last layers of the checkpoint are not those of {architecture}: "
            f"{heads.describe_head(network, tensors)}. Pass the layers in the order of your code, "
            f'for instance --head "{suggestion}"; layers without weights are a guess'
        )
    load_weights(network, select_tensors(tensors, network.state_dict()), architecture)
    config = timm.data.resolve_model_data_config(network, pretrained_cfg=pretrained_cfg or {})
    source = f"pretrained_cfg in {_CONFIG}"
    if pretrained_cfg is None:
        source = f"{ASSUMED}timm's pretrained_cfg of {name}"
    elif missing := [key for key in _PREPROCESSING if pretrained_cfg.get(key) is None]:
        source += f" ({', '.join(missing)}: timm's defaults)"
    return Imported(
        model=network,
        architecture=EXPORTED,
        labels=None,
        spec=to_spec(config),
        output="probabilities" if head and heads.is_probability(network) else "logits",
        origin="",
        provenance={"preprocess": source, "output": architecture},
    )


def to_spec(config: dict[str, Any]) -> PhotoPreprocess | None:
    """Return the spec of a configuration that `timm.data.resolve_data_config` returned.

    Return None for what a spec cannot express, such as borders. Source: timm,
    `transforms_imagenet_eval`.
    """
    channels, height, width = config["input_size"]
    scaled = tuple(math.floor(side / config["crop_pct"]) for side in (height, width))
    mode, interpolation = config.get("crop_mode"), config["interpolation"]
    is_square = scaled[0] == scaled[1]
    if channels not in (1, 3) or mode == "border" or (mode != "squash" and not is_square):
        return None
    return PhotoPreprocess(
        resize=(scaled[0], scaled[1]) if mode == "squash" else scaled[0],
        crop=(height, width),
        interpolation=interpolation if interpolation in _INTERPOLATIONS else "bilinear",
        channels=channels,
        mean=tuple(config["mean"]),
        std=tuple(config["std"]),
    )


def _import_timm() -> Any:
    try:
        torchvision_compat.load("models")
        import_module("timm.data")
        return import_module("timm")
    except ImportError as error:
        raise PackageError(
            "the network is one of timm, which packaging needs and serving does not: pip install "
            "timm"
        ) from error


def _create(timm: Any, name: str, classes: int, arguments: dict[str, Any]) -> nn.Module:
    try:
        network: nn.Module = timm.create_model(
            name, pretrained=False, num_classes=classes, **arguments
        )
    except (RuntimeError, TypeError, ValueError, AttributeError, AssertionError) as error:
        raise PackageError(
            f"timm cannot build {name} with {arguments or 'its defaults'}"
        ) from error
    return network


def _classifier_name(network: nn.Module) -> str:
    config: dict[str, Any] = getattr(network, "pretrained_cfg", None) or {}
    found = config.get("classifier", "")
    return str(found[0] if isinstance(found, tuple | list) else found)


def _count_classes(network: nn.Module, classifier: str, tensors: dict[str, Tensor]) -> int:
    names = [f"{classifier}.weight", f"{classifier}.bias"]
    selected = select_tensors(tensors, network.state_dict())
    for name in names:
        if name in selected and selected[name].ndim:
            return len(selected[name])
    return 10  # loading reports the error
