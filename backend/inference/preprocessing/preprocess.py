"""Pixels to the array that a model eats, as its manifest says. Training uses this very code."""

from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydantic import Field

from backend.inference.preprocessing.digits import DigitPreprocess, find_digit, normalize
from backend.inference.preprocessing.photos import PhotoPreprocess, prepare_photo

Preprocess = Annotated[DigitPreprocess | PhotoPreprocess, Field(discriminator="kind")]


def preprocess(image: Image.Image, spec: Preprocess) -> NDArray[np.float32]:
    """Turn an RGB picture of any size into one input, float32 of `spec.input_shape`."""
    if isinstance(spec, PhotoPreprocess):
        return prepare_photo(image, spec)
    inputs: NDArray[np.float32] = normalize(find_digit(image, spec)[np.newaxis], spec)[0]
    return inputs
