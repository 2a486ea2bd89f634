"""Folders of transformers' image classifiers: config.json, weights, preprocessor_config.json.

The network is built by transformers, which packaging needs and serving does not. Code in the folder
is never executed.
"""

import argparse
import logging
import warnings
from collections.abc import Iterator
from importlib import import_module
from itertools import product
from pathlib import Path
from typing import Any, Final

import numpy as np
from PIL import Image
from pydantic import ValidationError
from torch import Tensor, nn

from backend.inference.models import torchvision_compat
from backend.inference.preprocessing.photos import PhotoPreprocess, prepare_photo
from backend.inference.types import Floats
from calibration.sigmoid import MULTI_LABEL, SINGLE_LABEL, Task
from training.package.imported import EXPORTED, Imported
from training.package.kinds.files import read_json, verify_checksum
from training.package.labels import parse_labels
from training.package.model_spec import PackageError

CONFIG: Final = "config.json"
PROCESSOR: Final = "preprocessor_config.json"
_WEIGHTS: Final = ("model.safetensors", "pytorch_model.bin", "model.safetensors.index.json")
_SUFFIX: Final = "ForImageClassification"
_TASKS: Final[dict[str, Task]] = {
    "multi_label_classification": MULTI_LABEL,
    "single_label_classification": SINGLE_LABEL,
}
_INTERPOLATIONS: Final = {0: "nearest", 1: "lanczos", 2: "bilinear", 3: "bicubic"}
_TOLERANCE: Final = (
    0.002  # mean difference of two ways to resize, of values in [0, 1]: half a level
)
_SIZES: Final = ((500, 375), (300, 480), (260, 250))  # images on which the steps are compared


def matches(path: Path) -> bool:
    """Return whether a folder holds a configuration of transformers."""
    try:
        return "model_type" in read_json(path / CONFIG)
    except PackageError:
        return False


def read(path: Path, options: argparse.Namespace) -> Imported:
    """Return the network of a folder with its labels and its preprocessing."""
    config = read_json(path / CONFIG)
    architectures = config.get("architectures") or []
    if not any(_SUFFIX in str(each) for each in architectures):
        raise PackageError(
            f"{path / CONFIG}: {', '.join(map(str, architectures)) or config['model_type']} is not "
            f"an image classifier; its name would end in {_SUFFIX}"
        )
    problem = config.get("problem_type")
    if problem not in (None, *_TASKS):
        raise PackageError(f"{path / CONFIG}: the problem_type {problem} is not a classification")
    weights = next((path / name for name in _WEIGHTS if (path / name).is_file()), None)
    if weights is None:
        raise PackageError(f"{path} contains no {_WEIGHTS[0]}; download the weights too")
    digest = verify_checksum(weights, options.sha256)
    network = _load(path)
    labels = parse_labels(config["id2label"]) if config.get("id2label") else None
    provenance = {"output": f"{CONFIG}: {architectures[0]}"}
    if labels:
        provenance["labels"] = f"id2label in {CONFIG}"
    if problem:
        provenance["task"] = f"problem_type in {CONFIG}"
    if options.preprocess:
        spec = _sized_spec(config)
    elif (path / PROCESSOR).is_file():
        spec = _read_spec(path)
        provenance["preprocess"] = PROCESSOR
    else:
        raise PackageError(
            f"{path} contains no {PROCESSOR}, which describes how images become inputs; copy that "
            "of the model that was fine-tuned into the folder, or pass --preprocess"
        )
    return Imported(
        model=_Logits(network),
        architecture=EXPORTED,
        labels=labels,
        spec=spec,
        output="logits",
        origin=f"The classifier `{architectures[0]}` in `{path.resolve().name}` (SHA-256 of its "
        f"weights `{digest}`).",
        provenance=provenance,
        task=_TASKS[problem] if problem else None,
    )


class _Logits(nn.Module):
    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        return self.network(pixel_values=x).logits  # type: ignore[no-any-return]


def import_transformers() -> Any:
    """Return transformers; raise PackageError if it is not installed."""
    try:
        torchvision_compat.load("models")
        return import_module("transformers")
    except ImportError as error:
        raise PackageError(
            "the network is one of transformers, which packaging needs and serving does not: pip "
            "install transformers"
        ) from error


def _load(path: Path) -> nn.Module:
    transformers = import_transformers()
    logging.getLogger("transformers").setLevel(logging.ERROR)
    options: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
    try:
        network, found = transformers.AutoModelForImageClassification.from_pretrained(
            path, **options, output_loading_info=True, attn_implementation="eager"
        )
    except Exception as error:  # transformers raises many types, whose texts are long
        raise PackageError(
            f"transformers {transformers.__version__} cannot load {path}: {type(error).__name__}. "
            "Code in a folder is not executed; networks of a newer transformers require an update"
        ) from error
    missing = [*found["missing_keys"], *(str(each) for each in found["mismatched_keys"])]
    if missing:
        raise PackageError(
            f"the weights in {path} do not fit {CONFIG}: {len(missing)} tensors are missing or "
            f"have another shape, such as {sorted(missing)[0]}"
        )
    network.eval().float()
    return network  # type: ignore[no-any-return]


def _read_spec(path: Path) -> PhotoPreprocess:
    """Return the spec that does what the folder's image processor does.

    The processor's class decides what its sizes mean. Therefore each meaning is tried: the spec
    is the one whose inputs are equal. Raise PackageError if none is.
    """
    transformers = import_transformers()
    try:
        processor = transformers.AutoImageProcessor.from_pretrained(
            path, local_files_only=True, trust_remote_code=False
        )
        images = [_draw(size) for size in _SIZES]
        with warnings.catch_warnings(action="ignore"):
            expected = [
                np.asarray(processor(images=image, return_tensors="np")["pixel_values"])[0]
                for image in images
            ]
    except Exception as error:  # transformers raises many types, whose texts are long
        raise PackageError(
            f"transformers {transformers.__version__} cannot use {path / PROCESSOR}: "
            f"{type(error).__name__}; pass --preprocess"
        ) from error
    for spec in _candidates(processor, expected[0].shape[-2:]):
        inputs = [prepare_photo(image, spec) for image in images]
        if all(_is_equal(*pair, spec) for pair in zip(inputs, expected, strict=True)):
            return spec
    raise PackageError(
        f"{path / PROCESSOR} describes steps that the manifest cannot express; describe the "
        "nearest ones in a JSON file (docs/models.md) and pass it with --preprocess"
    )


def _sized_spec(config: dict[str, Any]) -> PhotoPreprocess | None:
    """Return a spec of the network's size, which a preset of --preprocess gets."""
    size = config.get("image_size")
    return PhotoPreprocess(resize=size, crop=(size, size)) if isinstance(size, int) else None


def _draw(size: tuple[int, int]) -> Image.Image:
    coarse = np.random.default_rng(0).integers(0, 256, (9, 9, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC)


def _is_equal(inputs: Floats, expected: Any, spec: PhotoPreprocess) -> bool:
    if inputs.shape != expected.shape:
        return False
    return float(np.abs(inputs - expected).mean()) < _TOLERANCE / float(np.mean(spec.std))


def _candidates(processor: Any, crop: tuple[int, int]) -> Iterator[PhotoPreprocess]:
    """Yield the specs that an image processor with outputs of the size `crop` may mean."""
    factor = 255 * float(_get(processor, "rescale_factor", 1 / 255))
    scale = factor if _get(processor, "do_rescale", True) else 255.0
    mean = np.broadcast_to(np.array(_get(processor, "image_mean", 0.0), float), 3)
    std = np.broadcast_to(np.array(_get(processor, "image_std", 1.0), float), 3)
    # Flags that are not set have another meaning in each class; EfficientNet's divides twice.
    values = [(mean, std), (np.zeros(3), np.ones(3)), (mean + 1, std), (mean, std**2)]
    size = dict(_get(processor, "size", None) or {})
    edge = size.get("shortest_edge") or size.get("height") or crop[0]
    share = _get(processor, "crop_pct", None) or 224 / 256
    resizes: list[Any] = [
        (size.get("height") or edge, size.get("width") or edge),
        edge,
        int(edge / share),
        int(edge * 256 / 224),
        crop,
    ]
    if not _get(processor, "do_resize", True):
        resizes = [None]
    for resize, (mean, std), color in product(resizes, values, ("RGB", "BGR")):
        fields = {
            "resize": resize,
            "crop": crop,
            "crop_rounding": "down",
            "interpolation": _INTERPOLATIONS.get(int(_get(processor, "resample", 2)), "bilinear"),
            "color": color,
            "mean": tuple(mean / scale),
            "std": tuple(std / scale),
        }
        try:
            yield PhotoPreprocess.model_validate(fields)
        except ValidationError:
            continue


def _get(processor: Any, name: str, default: Any) -> Any:
    found = getattr(processor, name, None)
    return default if found is None else found
