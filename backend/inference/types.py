"""What the core gives back, as frozen dataclasses."""

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
    class indices from most to least probable.
    """

    labels: tuple[str, ...]
    probabilities: Floats
    ranking: NDArray[np.intp]
    timings: Timings

    def top(self, k: int) -> list[Score]:
        """The `k` most probable classes (all of them where the model has fewer)."""
        return [
            Score(self.labels[i], int(i), float(self.probabilities[i])) for i in self.ranking[:k]
        ]
