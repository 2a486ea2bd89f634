"""Types of an evaluation: samples in, model outputs out, and a record of each."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Sample:
    """The content of an image file, and its label or None.

    Of a multi-label model, the label is the text of a set; see `label_sets`.
    """

    name: str
    content: bytes
    label: str | None


@dataclass(frozen=True, slots=True)
class UnreadableSample:
    """An image whose file cannot be read."""

    name: str
    label: str | None
    reason: str


AnySample = Sample | UnreadableSample


@dataclass(frozen=True, slots=True)
class ModelOutput:
    """The output of a classifier for one image.

    `probabilities` has shape (C,), dtype float32, in label order. `labels` are those of a
    multi-label model that reach their thresholds, else None. `prediction_set`
    contains the true label with probability `coverage`; both are None for a model that is not
    calibrated. A larger `ood_score` is further out of distribution. `seconds` is the time of
    decoding the image plus the forward pass of its batch, without queueing.
    """

    probabilities: Floats
    prediction_set: tuple[str, ...] | None
    coverage: float | None
    in_distribution: bool | None
    ood_score: float | None
    seconds: float
    labels: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class Failure:
    """The reason why an image has no model output."""

    reason: str


class Predictor(Protocol):
    """A classifier, local or served."""

    @property
    def name(self) -> str:
        """Name of the model."""

    @property
    def version(self) -> str:
        """Version of the model."""

    @property
    def labels(self) -> tuple[str, ...]:
        """Labels in the order of the probabilities."""

    @property
    def task(self) -> str:
        """`single-label`, `binary` or `multi-label`."""

    @property
    def label_ids(self) -> Sequence[str] | None:
        """WordNet IDs of the labels, in the same order, or None."""

    def __call__(self, contents: Iterator[bytes]) -> Iterator[ModelOutput | Failure]:
        """Yield one result per image file, in order, reading only a few files ahead.

        Raise PredictorError if no further results are available.
        """


@dataclass(frozen=True, slots=True)
class Record:
    """The result for one image: a row of `predictions.csv`.

    If the image has no model output, `error` is the reason, and all other fields except name and
    label are None. Probabilities are in [0, 1], `ms` is in milliseconds. Label and prediction of a
    multi-label model are texts of sets, such as `red;green`; see `label_sets`.
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
    def is_correct(self) -> bool:
        """Whether the prediction equals the label."""
        return self.prediction is not None and self.prediction == self.label
