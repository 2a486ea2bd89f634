"""What flows through an evaluation: samples in, answers out, a record of each."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Sample:
    """One picture: the bytes of its file, and its label, None where it has none."""

    name: str
    content: bytes
    label: str | None


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A picture of the data whose file cannot be read."""

    name: str
    label: str | None
    reason: str


@dataclass(frozen=True, slots=True)
class Answer:
    """What a classifier says of one picture.

    `probabilities` has shape (C,), float32, in label order, and sums to 1. `prediction_set` holds
    the true label with the probability `coverage`; both are None where the model is not
    calibrated. A larger `ood_score` is less like what the model knows. `seconds` is the time that
    decoding the picture and the forward pass of its batch took, waiting left out.
    """

    probabilities: Floats
    prediction_set: tuple[str, ...] | None
    coverage: float | None
    in_distribution: bool | None
    ood_score: float | None
    seconds: float


@dataclass(frozen=True, slots=True)
class Failure:
    """A picture for which there is no answer, and why."""

    reason: str


class Predictor(Protocol):
    """A classifier, wherever it runs."""

    @property
    def name(self) -> str:
        """What it is called."""

    @property
    def version(self) -> str:
        """Which one of that name."""

    @property
    def labels(self) -> tuple[str, ...]:
        """Its classes, in the order of the probabilities."""

    def __call__(self, contents: Iterator[bytes]) -> Iterator[Answer | Failure]:
        """Answer the files of pictures in order, taking few more than it has answered.

        Raises PredictorError where no more answers can be had.
        """


@dataclass(frozen=True, slots=True)
class Record:
    """What became of one picture: a line of `predictions.csv`.

    Where there is no answer `error` says why, and the rest is None but for name and label.
    Probabilities are within [0, 1], `ms` in milliseconds.
    """

    name: str
    label: str | None
    prediction: str | None = None
    confidence: float | None = None
    label_probability: float | None = None
    in_prediction_set: bool | None = None
    set_size: int | None = None
    in_distribution: bool | None = None
    ood_score: float | None = None
    ms: float | None = None
    error: str | None = None

    @property
    def correct(self) -> bool:
        """Whether the prediction is the label."""
        return self.prediction is not None and self.prediction == self.label
