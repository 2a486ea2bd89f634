"""Models of timm: checkpoints (`--architecture timm/NAME`) and folders of its hub.

A folder holds config.json with `architecture` and `pretrained_cfg`, and model.safetensors or
pytorch_model.bin. The network is built by timm, which packaging needs and serving does not.
"""

import argparse
import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any, Final

from torch import Tensor, nn

from backend.inference.models import torchvision_compat
from backend.inference.preprocessing.photos import PhotoPreprocess
from training.package import heads
from training.package.imported import ASSUMED, EXPORTED, Imported
from training.package.kinds.files import read_json, verify_checksum
from training.package.kinds.torch_file import load_weights, read_tensors
from training.package.labels import parse_labels
from training.package.model_spec import IMAGENET_CLASSES, PackageError

_CONFIG: Final = "config.json"
_WEIGHTS: Final = ("model.safetensors", "pytorch_model.bin", "open_clip_pytorch_model.bin")
_INTERPOLATIONS: Final = ("nearest", "bilinear", "bicubic", "lanczos")
_FAMILY: Final = "timm/"
_ID: Final = re.compile(r"n\d{8}|/[mgt]/\w+")  # of WordNet, and of Open Images
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
    labels, provenance = imported.labels, imported.provenance
    if found := read_labels(pretrained_cfg | config):
        labels = found[0]
        provenance = provenance | {"labels": f"{found[1]} in {_CONFIG}"}
    origin = f"The architecture `{name}` with the weights of `{path.name}` (SHA-256 `{digest}`)."
    return replace(imported, labels=labels, provenance=provenance, origin=origin)


def read_labels(config: dict[str, Any]) -> tuple[tuple[str, ...], str] | None:
    """Return the labels of a configuration and the key that holds them; None if there are none.

    `label_names` that are IDs of WordNet or Open Images, such as n02084071, are replaced by
    `label_descriptions`, a list or an object by name, and follow them where two are equal.
    """
    names = parse_labels(config.get("label_names"))
    if names is None:
        return None
    texts: Any = config.get("label_descriptions")
    if isinstance(texts, dict):
        texts = [texts.get(name) for name in names]
    is_described = (
        isinstance(texts, list)
        and len(texts) == len(names)
        and all(isinstance(text, str) and text.strip() for text in texts)
    )
    if is_described and all(map(_ID.fullmatch, names)):
        return _tell_apart(texts, names), "label_descriptions"
    return names, "label_names"


def _tell_apart(texts: Sequence[str], names: Sequence[str]) -> tuple[str, ...]:
    """Return the texts, followed by the name where a text occurs twice."""
    counts = Counter(texts)
    return tuple(
        f"{text} ({name})" if counts[text] > 1 else text
        for text, name in zip(texts, names, strict=True)
    )


def _imagenet_labels(timm: Any, classes: int) -> tuple[str, ...] | None:
    """Return the labels of ImageNet-21k, -12k and the like, which their size tells apart."""
    subset = timm.data.infer_imagenet_subset({"num_classes": classes})
    if subset is None or classes == IMAGENET_CLASSES:
        return None
    info = timm.data.ImageNetInfo(subset)
    return _tell_apart(info.label_descriptions(), info.label_names())


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
    classes = _count_classes(timm, name, tensors)
    network = _create(timm, name, classes, arguments)
    load_weights(network, heads.fit_head(network, head, tensors, architecture), architecture)
    config = timm.data.resolve_model_data_config(network, pretrained_cfg=pretrained_cfg or {})
    source = f"pretrained_cfg in {_CONFIG}"
    if pretrained_cfg is None:
        source = f"{ASSUMED}timm's pretrained_cfg of {name}"
    elif missing := [key for key in _PREPROCESSING if pretrained_cfg.get(key) is None]:
        source += f" ({', '.join(missing)}: timm's defaults)"
    provenance = {"preprocess": source, "output": architecture}
    labels = None if head else _imagenet_labels(timm, classes)
    if labels:
        provenance["labels"] = f"{ASSUMED}timm's names of the {classes:,} classes of ImageNet"
    return Imported(
        model=network,
        architecture=EXPORTED,
        labels=labels,
        spec=to_spec(config),
        output="probabilities" if head and heads.is_probability(network) else "logits",
        origin="",
        provenance=provenance,
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


def _count_classes(timm: Any, name: str, tensors: dict[str, Tensor]) -> int:
    """Return the length of the classifier in a checkpoint, whose names may have a prefix."""
    config = timm.get_pretrained_cfg(name.partition(".")[0])
    found = getattr(config, "classifier", None)
    classifier = found[0] if isinstance(found, tuple | list) else found
    for ending in (f"{classifier}.weight", f"{classifier}.bias"):
        keys = [key for key in tensors if f".{key}".endswith(f".{ending}") and tensors[key].ndim]
        if keys:
            # Another layer deeper in the network may have the same name.
            return len(tensors[min(keys, key=lambda key: (key.count("."), len(key)))])
    return 1  # loading reports the error
