"""Result types of the inference core."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]


class Region(NamedTuple):
    """The part of an upright image that a model's input shows.

    Edges are fractions of the image's width and height; they may lie outside [0, 1].
    """

    left: float
    top: float
    right: float
    bottom: float


@dataclass(frozen=True, slots=True)
class LabelScore:
    """A label, its index in the model's labels, and its probability."""

    label: str
    index: int
    probability: float


@dataclass(frozen=True, slots=True)
class Timings:
    """Durations of the stages of one classification, in milliseconds."""

    decode: float
    queue: float
    inference: float


@dataclass(frozen=True, slots=True)
class Features:
    """The L2-normalized features (1, D) of one image, and how long a network took for them."""

    values: Floats
    timings: Timings


@dataclass(frozen=True, slots=True)
class ClassificationResult:
    """The classification of one image.

    A higher `ood_score` (out of distribution) is less like the training data; it is None if the
    model's outputs do not allow one. `set_size` returns the size of the prediction set for
    (probabilities, coverage). `thresholds` (C,) are those of a multi-label model, whose
    probabilities are independent; None for other models, whose probabilities sum to 1.
    """

    labels: tuple[str, ...]  # of the model, in output order
    probabilities: Floats  # shape (C,), in label order
    ranking: NDArray[np.intp]  # class indices of shape (C,), from most to least probable
    timings: Timings
    ood_score: float | None = None
    in_distribution: bool | None = None  # `ood_score` is within the limit; None if not calibrated
    set_size: Callable[[Floats, float], int] | None = None  # None if not calibrated
    brightness: float | None = None  # mean of the model input, in [0, 1]
    features: Features | None = None  # of one image that a taught model has classified
    thresholds: Floats | None = None  # of the labels, shape (C,); None unless multi-label

    def labels_above_threshold(self) -> list[LabelScore] | None:
        """Return the labels that reach their thresholds, the most probable first; maybe none.

        Return None unless the model is multi-label.
        """
        if self.thresholds is None:
            return None
        reached = self.probabilities >= self.thresholds
        return [score for score in self.top(len(self.labels)) if reached[score.index]]

    def top(self, k: int) -> list[LabelScore]:
        """Return the `k` most probable labels, or all of them if the model has fewer."""
        best = self.ranking[:k].tolist()
        return [LabelScore(self.labels[i], i, float(self.probabilities[i])) for i in best]

    def prediction_set(self, coverage: float) -> tuple[str, ...] | None:
        """Return the labels that include the right one with probability `coverage`.

        The most probable label comes first, and the set is never empty. Return None if the model
        is not calibrated. Raise ValueError if it is not calibrated for this coverage.
        """
        if self.set_size is None:
            return None
        size = self.set_size(self.probabilities, coverage)
        return tuple(self.labels[i] for i in self.ranking[:size].tolist())
