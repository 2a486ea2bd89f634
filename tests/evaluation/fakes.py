"""Fake predictors and images for tests of the evaluation."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from evaluation.errors import PredictorError
from evaluation.types import Failure, ModelOutput, Sample
from tests.images import encoded

LABELS = ("cat", "dog", "owl")


def model_output(*probabilities: float, **fields: object) -> ModelOutput:
    """Return the output of an uncalibrated model after 1 ms, with other `fields` if given."""
    defaults: dict[str, object] = {
        "prediction_set": None,
        "coverage": None,
        "in_distribution": None,
        "ood_score": None,
        "seconds": 0.001,
    }
    values = np.array(probabilities, np.float32)
    return ModelOutput(probabilities=values, **defaults | fields)  # type: ignore[arg-type]


class FakePredictor:
    """Yields the given results, whatever the images; then it raises PredictorError."""

    name = "fake"
    version = "7"
    label_ids = None
    task = "single-label"

    def __init__(
        self, results: Iterable[ModelOutput | Failure], labels: Sequence[str] = LABELS
    ) -> None:
        self.labels = tuple(labels)
        self._results = iter(results)

    def __call__(self, contents: Iterator[bytes]) -> Iterator[ModelOutput | Failure]:
        for _ in contents:
            result = next(self._results, None)
            if result is None:
                raise PredictorError("connection lost")
            yield result


def gray_png(level: int = 128) -> bytes:
    """Return a PNG of one gray level."""
    return encoded(Image.new("L", (8, 8), level))


def samples(*labels: str | None) -> Iterator[Sample]:
    """Yield one image per label, named 0.png, 1.png, ..."""
    for index, label in enumerate(labels):
        yield Sample(f"{index}.png", gray_png(index), label)


def write_files(folder: Path, files: Mapping[str, bytes]) -> Path:
    """Write files with the given relative paths and contents, and return `folder`."""
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return folder
