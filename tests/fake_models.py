"""Model folders, fake runtimes and applications for tests that need no real network."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from starlette.testclient import TestClient

from backend.app import create_app
from backend.inference.errors import InferenceError
from backend.inference.models import artifact
from backend.inference.models.artifact import Artifact, Manifest
from backend.inference.preprocessing.digit_crop import DigitPreprocess
from backend.inference.preprocessing.photos import PhotoPreprocess
from backend.inference.runtimes import Runtime
from backend.inference.runtimes.fake_runtime import FakeRuntime
from backend.inference.types import Floats
from backend.settings import Settings
from tests.images import encoded

LOCALHOST = "http://localhost"  # the default of TestClient, "testserver", is not an allowed host
DIGITS = tuple("0123456789")

# Invented: uncertain predictions get more labels, and an image without a logit above 1 is out of
# distribution.
CALIBRATION: dict[str, Any] = {
    "temperature": 1.5,
    "sets": [
        {"coverage": 0.9, "min_confidence": 0.5, "min_probability": 0.2},
        {"coverage": 0.9, "min_confidence": 0, "min_probability": 0.1},
        {"coverage": 0.95, "min_confidence": 0, "min_probability": 0.05},
        {"coverage": 0.99, "min_confidence": 0, "min_probability": 0.02},
    ],
    "max_ood_score": -3.3,
    "pictures": 100,
    "source": "invented",
    "mean_set_size": {"0.9": 1.0, "0.95": 1.1, "0.99": 1.5},
}


def write_model(models_dir: Path, name: str = "fake", **fields: Any) -> Path:
    """Write a model folder with a placeholder instead of a network."""
    folder = models_dir / name
    folder.mkdir(parents=True)
    (folder / artifact.ONNX).write_bytes(b"placeholder")
    defaults = {"name": name, "version": "1", "architecture": "onnx", "labels": DIGITS, "files": {}}
    manifest = Manifest.model_validate(defaults | {"preprocess": DigitPreprocess()} | fields)
    artifact.write_manifest(folder, manifest)
    return folder


# Preprocessing of a model that classifies the image `gray(k)` as k.
GRAY = PhotoPreprocess(resize=None, crop=(8, 8), channels=1, mean=(0,), std=(1,))
_STEP = 20  # difference of the gray levels of two digits, of 255


def gray(digit: int, side: int = 8) -> bytes:
    """Return a PNG of one gray level; at 8x8 it is decoded inline, above 64x64 in a thread."""
    return encoded(Image.new("L", (side, side), _STEP * digit))


def digit_in(item: Floats) -> int:
    """Return the `digit` of a `gray` image from its model input."""
    return round(float(item.mean()) * 255 / _STEP)


class GrayRuntime:
    """Classifies `gray` images; the forward pass of a batch with the digit `bad` fails.

    `hold` blocks forward passes until `release`. `batches` contains the digits of each batch whose
    forward pass has started.
    """

    name = "gray"

    def __init__(
        self, *, concurrent: bool = True, threads: int = 1, bad: int | None = None
    ) -> None:
        self.concurrent = concurrent
        self.threads = threads
        self.batches: list[list[int]] = []
        self._bad = bad
        self._open = threading.Event()
        self._open.set()

    def hold(self) -> None:
        """Block forward passes, and clear `batches`."""
        self.batches.clear()
        self._open.clear()

    def release(self) -> None:
        """Unblock forward passes."""
        self._open.set()

    def __call__(self, batch: Floats) -> Floats:
        """Return logits (N, 10) for inputs (N, 1, 8, 8)."""
        digits = [digit_in(item) for item in batch]
        self.batches.append(digits)
        assert self._open.wait(60)
        if self._bad in digits:
            raise InferenceError("The model could not be run on this input.")
        return np.eye(10, dtype=np.float32)[digits] * 9


class FailingRuntime:
    """Succeeds for the two runs of the warm-up, then raises RuntimeError with `message`."""

    name = "failing"
    concurrent = True

    def __init__(self, message: str) -> None:
        self._calls = 0
        self._message = message

    def __call__(self, batch: Floats) -> Floats:
        self._calls += 1
        if self._calls > 2:
            raise RuntimeError(self._message)
        return batch.reshape(len(batch), -1)[:, :10]


def fake_loader(runtime: Runtime | None = None) -> Callable[..., Runtime]:
    """Return a replacement for `runtimes.load` that returns `runtime` or a FakeRuntime."""

    def load(model: Artifact, *_: object, **__: object) -> Runtime:
        return runtime or FakeRuntime(len(model.manifest.labels))

    return load


def settings_for(models_dir: Path, **settings: Any) -> Settings:
    """Return settings with an own data folder, without measurements and without history."""
    defaults: dict[str, Any] = {
        "measure": False,
        "data_dir": models_dir.with_name(f"{models_dir.name}-data"),
        "history": False,
    }
    return Settings(models_dir=models_dir, **defaults | settings)


@contextmanager
def serve(
    models_dir: Path, runtime: Runtime | None = None, **settings: Any
) -> Iterator[TestClient]:
    """Run the application in the test process, with the models in `models_dir`."""
    app = create_app(settings_for(models_dir, **settings), fake_loader(runtime))
    with TestClient(app, LOCALHOST, raise_server_exceptions=False) as client:
        yield client


def wait_until_ready(client: TestClient, seconds: float = 30) -> None:
    """Wait until the default model is loaded."""
    end = time.monotonic() + seconds
    while client.get("/ready").status_code != 200:
        assert time.monotonic() < end
        time.sleep(0.01)
