"""What a model wants its pictures to be: presets, torchvision's own, or a JSON file."""

from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from backend.inference.preprocessing.digits import DigitPreprocess
from backend.inference.preprocessing.photos import PhotoPreprocess
from backend.inference.preprocessing.preprocess import Preprocess

PRESETS = ("imagenet", "digit")
_SPECS: TypeAdapter[Preprocess] = TypeAdapter(Preprocess)


class SpecError(Exception):
    """A preprocessing that is none, or does not fit the model; the text says why."""


def read_spec(name: str, side: int | None = None) -> Preprocess:
    """Return the preset `name`, for inputs of `side` pixels, or the spec in the JSON file `name`.

    `imagenet` is 256 to 224 pixels, bilinear, as most classifiers of photographs were trained.
    Raises SpecError for a file that is absent or holds no spec.
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
        raise SpecError(
            f"--preprocess is imagenet, digit or a JSON file; {name} is none"
        ) from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "the file"
        raise SpecError(f"{name}: {where}: {first['msg']}") from error


def of_weights(weights: Any) -> PhotoPreprocess:
    """The spec of a member of torchvision's `Weights`, from its own transforms."""
    transforms = weights.transforms()
    if not hasattr(transforms, "crop_size"):
        raise SpecError(f"{weights} are not weights of a classifier of pictures")
    return PhotoPreprocess(
        resize=int(transforms.resize_size[0]),
        crop=(int(transforms.crop_size[0]), int(transforms.crop_size[0])),
        interpolation=transforms.interpolation.value,
        mean=tuple(transforms.mean),
        std=tuple(transforms.std),
    )
