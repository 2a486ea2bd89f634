"""Preprocessing specs for packaged models: presets, torchvision's, or a JSON file."""

from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from backend.inference.preprocessing.digits import DigitPreprocess
from backend.inference.preprocessing.model_input import Preprocess
from backend.inference.preprocessing.photos import PhotoPreprocess

PRESETS = ("imagenet", "digit")
_SPECS: TypeAdapter[Preprocess] = TypeAdapter(Preprocess)


class PreprocessingError(Exception):
    """The preprocessing spec is invalid; the message says why."""


def read_spec(name: str, side: int | None = None) -> Preprocess:
    """Return the preset `name`, for inputs of `side` pixels, or the spec in the JSON file `name`.

    `imagenet` resizes to 256 pixels, bilinear, and crops 224, as most ImageNet classifiers do.
    Raise PreprocessingError if the file is missing or invalid.
    """
    if name == "imagenet":
        crop = side or 224
        return PhotoPreprocess(resize=round(crop * 256 / 224), crop=(crop, crop))
    if name == "digit":
        size = side or 28
        return DigitPreprocess(size=size, box=round(size * 20 / 28))
    try:
        return _SPECS.validate_json(Path(name).read_bytes())
    except OSError as error:
        raise PreprocessingError(
            f"--preprocess must be imagenet, digit or a JSON file, not {name}"
        ) from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "the file"
        raise PreprocessingError(f"{name}: {where}: {first['msg']}") from error


def spec_from_weights(weights: Any) -> PhotoPreprocess:
    """Return the spec of a torchvision `WeightsEnum` member, from its transforms.

    Raise PreprocessingError if it is not an image classifier.
    """
    transforms = weights.transforms()
    if not hasattr(transforms, "crop_size"):
        raise PreprocessingError(f"{weights} are not the weights of an image classifier")
    return PhotoPreprocess(
        resize=int(transforms.resize_size[0]),
        crop=(int(transforms.crop_size[0]), int(transforms.crop_size[0])),
        interpolation=transforms.interpolation.value,
        mean=tuple(transforms.mean),
        std=tuple(transforms.std),
    )
