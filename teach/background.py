"""Features of images of other things, which show what a model should not recognize.

`background.safetensors` has the features of photographs and of generated images for the shipped
backbone, made by `training.background`.
"""

from functools import cache
from pathlib import Path
from typing import Final

import numpy as np
from safetensors import safe_open

from calibration import apply
from teach.types import Backbone, Floats

FILE: Final = Path(__file__).with_name("background.safetensors")


def load(backbone: Backbone) -> Floats:
    """Return L2-normalized features (M, D) of images of other things.

    M is 0 for a backbone with other weights than the shipped one.
    """
    sha256, features = _read()
    if sha256 == backbone.sha256 and features.shape[1] == backbone.dimensions:
        return features
    return np.empty((0, backbone.dimensions), np.float32)


@cache
def _read() -> tuple[str, Floats]:
    with safe_open(FILE, framework="np") as file:
        levels = np.asarray(file.get_tensor("features"))  # uint8, a linear scale
        return file.metadata()["backbone_sha256"], apply.normalize(levels.astype(np.float32))
