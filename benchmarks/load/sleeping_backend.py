"""`python -m benchmarks.load.sleeping_backend`: the backend with a model that sleeps.

The gray level of an image is the index of its service time in SERVICE_MS, a JSON list of up to 256
values in ms. Several such backends fit on few processors. The settings are those of the backend.
"""

import io
import json
import os
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
from PIL import Image

from backend.app import create_app
from backend.inference.models import artifact
from backend.inference.models.artifact import Artifact, Manifest
from backend.inference.preprocessing.photos import PhotoPreprocess
from backend.inference.types import Floats
from backend.server import entrypoint

VARIABLE: Final = "SERVICE_MS"
MAX_VALUES: Final = 256  # gray levels
_SIDE: Final = 8  # pixels; such an image is decoded in 0.1 ms
_PREPROCESS: Final = PhotoPreprocess(
    resize=None, crop=(_SIDE, _SIDE), channels=1, mean=(0,), std=(1,)
)


class SleepingRuntime:
    """Sleeps for the sum of the service times of a batch; the label is that of the gray level."""

    name = "sleeping"
    concurrent = True

    def __init__(self, seconds: list[float]) -> None:
        self._seconds = np.array(seconds)

    def __call__(self, batch: Floats) -> Floats:
        """Return logits (N, 2) for inputs (N, 1, 8, 8)."""
        levels = np.rint(255 * batch[:, 0, 0, 0]).astype(int)
        time.sleep(float(self._seconds[levels].sum()))
        logits: Floats = np.tile(np.array([5, 0], dtype=np.float32), (len(batch), 1))
        return logits


def make_image(index: int) -> bytes:
    """Return a PNG whose service time is the value at `index`."""
    stream = io.BytesIO()
    Image.new("L", (_SIDE, _SIDE), index).save(stream, "PNG")
    return stream.getvalue()


def write_model(folder: Path) -> None:
    """Write a model folder with a placeholder instead of a network."""
    folder.mkdir()
    (folder / artifact.ONNX).write_bytes(b"placeholder")
    fields: dict[str, Any] = {"name": folder.name, "version": "1", "architecture": "onnx"}
    fields |= {"labels": ("a", "b"), "files": {}, "preprocess": _PREPROCESS}
    artifact.write_manifest(folder, Manifest.model_validate(fields))


def main() -> None:
    """Serve the model; a thread per processor of PRISM_THREADS sleeps."""
    seconds = [ms / 1e3 for ms in json.loads(os.environ[VARIABLE])]

    def load(_: Artifact, *__: object, **___: object) -> SleepingRuntime:
        return SleepingRuntime(seconds)

    with tempfile.TemporaryDirectory(prefix="prism-sleep-") as folder:
        write_model(Path(folder) / "sleeping")
        os.environ["PRISM_MODELS_DIR"] = folder
        vars(entrypoint)["create_app"] = partial(create_app, load_runtime=load)
        entrypoint.main()


if __name__ == "__main__":
    main()
