"""The preprocessing of a packaged model: files, presets or torchvision's."""

from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from backend.inference.models import networks
from backend.inference.preprocessing.digit_crop import DigitPreprocess
from backend.inference.preprocessing.model_input import Preprocess
from backend.inference.preprocessing.photos import PhotoPreprocess

IMAGENET_CLASSES = 1000
# With published weights, torchvision builds these with `transform_input=True`: the network turns
# values normalized for ImageNet into (x - 0.5) / 0.5. `networks.build` returns them without it.
TRANSFORMS_INPUT = ("googlenet", "inception_v3")
PRESETS = ("imagenet", "digit")
_SPECS: TypeAdapter[Preprocess] = TypeAdapter(Preprocess)


class PackageError(Exception):
    """The classifier cannot be packaged; the message says why."""


def read_spec(name: str, side: int | None = None) -> Preprocess:
    """Return the preset `name`, for inputs of `side` pixels, or the spec in JSON.

    `name` is the JSON itself, which begins with a brace, or the path of a file.

    `imagenet` resizes to 256 pixels, bilinear, and crops 224, as most ImageNet classifiers do.
    Raise PackageError if the file is missing or invalid.
    """
    if name == "imagenet":
        crop = side or 224
        return PhotoPreprocess(resize=round(crop * 256 / 224), crop=(crop, crop))
    if name == "digit":
        size = side or 28
        return DigitPreprocess(size=size, box=round(size * 20 / 28))
    try:
        is_json = name.lstrip().startswith("{")
        return _SPECS.validate_json(name if is_json else Path(name).read_bytes())
    except OSError as error:
        message = f"--preprocess must be imagenet, digit or a JSON file, not {name}"
        raise PackageError(message) from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "the file"
        origin = "--preprocess" if name.lstrip().startswith("{") else name
        raise PackageError(f"{origin}: {where}: {first['msg']}") from error


def architecture_spec(architecture: str) -> Preprocess:
    """Return the preprocessing of an architecture's published weights, or of Prism's own networks.

    Raise ArtifactError for an unknown architecture.
    """
    if architecture in networks.DIGIT_ARCHITECTURES:
        return read_spec("digit")
    family, _, name = architecture.partition("/")
    if family != "torchvision":
        return read_spec("imagenet")
    return spec_from_weights(name, networks.load_torchvision(name).get_model_weights(name).DEFAULT)


def spec_from_weights(architecture: str, weights: Any) -> PhotoPreprocess:
    """Return the spec of a torchvision `WeightsEnum` member, from its transforms.

    Raise PackageError if it is not an image classifier.
    """
    transforms = weights.transforms()
    if not hasattr(transforms, "crop_size"):
        raise PackageError(f"{weights} are not the weights of an image classifier")
    mean, std = tuple(transforms.mean), tuple(transforms.std)
    if architecture in TRANSFORMS_INPUT:
        mean = std = (0.5, 0.5, 0.5)
    return PhotoPreprocess(
        resize=int(transforms.resize_size[0]),
        crop=(int(transforms.crop_size[0]), int(transforms.crop_size[0])),
        interpolation=transforms.interpolation.value,
        mean=mean,
        std=std,
    )
