"""What the core gives back, as frozen dataclasses."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Score:
    """One class of an answer: its label, its place in the model's labels, its probability."""

    label: str
    index: int
    probability: float


@dataclass(frozen=True, slots=True)
class Timings:
    """Where the time of one answer went, in milliseconds."""

    decode: float
    queue: float
    inference: float


@dataclass(frozen=True, slots=True)
class Prediction:
    """The answer for one picture.

    `probabilities` has shape (C,), float32, in label order, and sums to 1; `ranking` holds the
    class indices from most to least probable. `ood_score` is the larger the less the picture is
    like what the model knows, None where its outputs do not tell; `in_distribution` is whether it
    is like it, `set_size` how many labels a set of a coverage needs: None without calibration.
    """

    labels: tuple[str, ...]
    probabilities: Floats
    ranking: NDArray[np.intp]
    timings: Timings
    ood_score: float | None = None
    in_distribution: bool | None = None
    set_size: Callable[[Floats, float], int] | None = None

    def top(self, k: int) -> list[Score]:
        """The `k` most probable classes (all of them where the model has fewer)."""
        return [
            Score(self.labels[i], int(i), float(self.probabilities[i])) for i in self.ranking[:k]
        ]

    def prediction_set(self, coverage: float) -> tuple[str, ...] | None:
        """The labels one of which is right with the probability `coverage`, the likeliest first.

        Never empty. None where the model is not calibrated; raises ValueError where it is, but not
        for this coverage.
        """
        if self.set_size is None:
            return None
        size = self.set_size(self.probabilities, coverage)
        return tuple(self.labels[i] for i in self.ranking[:size].tolist())
