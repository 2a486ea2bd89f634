"""What a model is given, as a picture for people."""

from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from backend.inference.preprocessing.preprocess import Preprocess
from backend.inference.types import Floats


def png(row: Floats, spec: Preprocess) -> bytes:
    """Return one input of `spec.input_shape` as a PNG of the same size, normalization undone."""
    out = BytesIO()
    Image.fromarray(_pixels(row, spec)).save(out, "PNG")
    return out.getvalue()


def _pixels(row: Floats, spec: Preprocess) -> NDArray[np.uint8]:
    """Shape (H, W) for one channel, else (H, W, 3)."""
    if spec.kind == "digit":
        shares = row.reshape(spec.size, spec.size) * spec.std + spec.mean
    else:
        planes = row if spec.layout == "NCHW" else row.transpose(2, 0, 1)
        shares = planes.transpose(1, 2, 0) * np.array(spec.std) + np.array(spec.mean)
        shares = shares[..., 0] if spec.channels == 1 else shares
    pixels: NDArray[np.uint8] = np.rint(255 * shares).clip(0, 255).astype(np.uint8)
    return pixels
