"""Model folders and applications for tests that need no real network."""

import threading
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
from backend.inference.preprocessing.digits import DigitPreprocess
from backend.inference.preprocessing.photos import PhotoPreprocess
from backend.inference.runtimes import Runtime
from backend.inference.runtimes.fake_runtime import FakeRuntime
from backend.inference.types import Floats
from backend.settings import Settings
from tests.images import encoded

DIGITS = tuple("0123456789")

# Made up: unsure answers are given more labels, and no logit above 1 means no digit.
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
    "source": "made up",
    "mean_set_size": {"0.9": 1.0, "0.95": 1.1, "0.99": 1.5},
}


def write_model(models_dir: Path, name: str = "fake", **fields: Any) -> Path:
    """Write a model folder whose network is only a placeholder."""
    folder = models_dir / name
    folder.mkdir(parents=True)
    (folder / artifact.ONNX).write_bytes(b"placeholder")
    given = {"name": name, "version": "1", "architecture": "onnx", "labels": DIGITS, "files": {}}
    manifest = Manifest.model_validate(given | {"preprocess": DigitPreprocess()} | fields)
    artifact.write_manifest(folder, manifest)
    return folder


# A model that reads flat gray pictures: the picture `gray(k)` is answered with k.
GRAY = PhotoPreprocess(resize=None, crop=(8, 8), channels=1, mean=(0,), std=(1,))
_STEP = 20  # levels of 255 between two of them


def gray(digit: int, side: int = 8) -> bytes:
    """A PNG of one digit_in of gray; one of 8x8 is tiny, one of more than 64x64 is not."""
    return encoded(Image.new("L", (side, side), _STEP * digit))


def digit_in(item: Floats) -> int:
    """The `digit` of a `gray` picture, from the input made of it."""
    return round(float(item.mean()) * 255 / _STEP)


class GrayRuntime:
    """Answers `gray` pictures; those at the digit_in `bad` make the forward pass fail.

    `hold` lets no forward pass go on, `release` all; `batches` has the digits of every batch that
    was begun.
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
        """Keep forward passes from now on, and forget the earlier ones."""
        self.batches.clear()
        self._open.clear()

    def release(self) -> None:
        """Let them go on."""
        self._open.set()

    def __call__(self, batch: Floats) -> Floats:
        """Inputs (N, 1, 8, 8) -> logits (N, 10)."""
        digits = [digit_in(item) for item in batch]
        self.batches.append(digits)
        assert self._open.wait(60)
        if self._bad in digits:
            raise InferenceError("The model could not be run on this input.")
        return np.eye(10, dtype=np.float32)[digits] * 9


class FailingRuntime:
    """Works for the two runs of the warm-up, then fails with `words`."""

    name = "failing"
    concurrent = True

    def __init__(self, words: str) -> None:
        self._calls = 0
        self._words = words

    def __call__(self, batch: Floats) -> Floats:
        self._calls += 1
        if self._calls > 2:
            raise RuntimeError(self._words)
        return batch.reshape(len(batch), -1)[:, :10]


def fake_loader(runtime: Runtime | None = None) -> Callable[..., Runtime]:
    """A stand-in for `runtimes.load` that gives `runtime`, or a fake one."""

    def load(model: Artifact, *_: object, **__: object) -> Runtime:
        return runtime or FakeRuntime(len(model.manifest.labels))

    return load


def settings_for(models_dir: Path, **settings: Any) -> Settings:
    """Settings that leave the user's own data folder alone, measure and remember nothing."""
    kept: dict[str, Any] = {
        "measure": False,
        "data_dir": models_dir.parent / "data",
        "history": False,
    }
    return Settings(models_dir=models_dir, **kept | settings)


@contextmanager
def serve(
    models_dir: Path, runtime: Runtime | None = None, **settings: Any
) -> Iterator[TestClient]:
    """Run the application in this process on the models in `models_dir`, with a fake runtime."""
    app = create_app(settings_for(models_dir, **settings), fake_loader(runtime))
    with TestClient(app, raise_server_exceptions=False) as client:
        yield client
