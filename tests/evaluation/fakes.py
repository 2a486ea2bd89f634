"""Classifiers and pictures of which it is known what comes out."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from evaluation.errors import PredictorError
from evaluation.types import Answer, Failure, Sample
from tests.images import encoded

LABELS = ("cat", "dog", "owl")


def answer(*probabilities: float, **fields: object) -> Answer:
    """An answer without a promise, in a millisecond; `fields` are what else it says."""
    given: dict[str, object] = {
        "prediction_set": None,
        "coverage": None,
        "in_distribution": None,
        "ood_score": None,
        "seconds": 0.001,
    }
    values = np.array(probabilities, np.float32)
    return Answer(probabilities=values, **given | fields)  # type: ignore[arg-type]


class Scripted:
    """Gives the answers it was given, whatever the pictures; after them it answers no more.

    `taken` counts the pictures that it asked for.
    """

    name = "scripted"
    version = "7"

    def __init__(self, answers: Iterable[Answer | Failure], labels: Sequence[str] = LABELS) -> None:
        self.labels = tuple(labels)
        self.taken = 0
        self._answers = iter(answers)

    def __call__(self, contents: Iterator[bytes]) -> Iterator[Answer | Failure]:
        for _ in contents:
            self.taken += 1
            found = next(self._answers, None)
            if found is None:
                raise PredictorError("the machine has gone")
            yield found


def gray(level: int = 128) -> bytes:
    """A PNG of one level."""
    return encoded(Image.new("L", (8, 8), level))


def samples(*labels: str | None) -> Iterator[Sample]:
    """One picture for each label, named 0.png, 1.png, ..."""
    for index, label in enumerate(labels):
        yield Sample(f"{index}.png", gray(index), label)


def write_files(folder: Path, files: Mapping[str, bytes]) -> Path:
    """Write files below `folder`, by their relative paths."""
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return folder
