"""A network's outputs -> probabilities that mean what they say, prediction sets, and a score of
how little a picture is like what the model knows.

What it takes is fitted on held-out pictures and written in the manifest as a `Calibration`.
"""

from collections.abc import Iterable
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, model_validator

from backend.inference.errors import InferenceError
from backend.inference.types import Floats

OutputKind = Literal["logits", "probabilities"]

COVERAGES: Final = (0.9, 0.95, 0.99)


class SetThreshold(BaseModel):
    """Labels of at least `min_probability` belong to the set of `coverage`, where the confidence
    is at least `min_confidence`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    coverage: float = Field(gt=0, lt=1)
    min_confidence: float = Field(ge=0, le=1)
    min_probability: float = Field(ge=0, le=1)


class Calibration(BaseModel):
    """What was fitted on held-out pictures, and which those were."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    temperature: float = Field(
        ge=1e-3, le=1e3, description="logits are divided by it before the softmax"
    )
    sets: tuple[SetThreshold, ...] = Field(
        description="of several of a coverage, the one with the largest min_confidence that an "
        "answer reaches counts"
    )
    max_ood_score: float | None = Field(
        default=None,
        description="a picture that scores more is not of the model's world; null: it cannot tell",
    )
    pictures: int = Field(ge=1, description="held-out pictures that it was fitted on")
    source: str = Field(description="what they were")
    mean_set_size: dict[str, float] = Field(
        description="labels in a prediction set on average, per coverage, on those pictures"
    )

    @model_validator(mode="after")
    def _check_coverages(self) -> "Calibration":
        groups = [(one.coverage, one.min_confidence) for one in self.sets]
        for coverage in COVERAGES:
            if (coverage, 0) not in groups:
                raise ValueError(f"sets need a threshold of coverage {coverage}, min_confidence 0")
        if strange := {coverage for coverage, _ in groups} - set(COVERAGES):
            raise ValueError(f"sets have the coverage {min(strange)}, which is none of {COVERAGES}")
        if len(set(groups)) < len(groups):
            raise ValueError("sets have two thresholds of one coverage and min_confidence")
        if set(self.mean_set_size) != set(map(str, COVERAGES)):
            raise ValueError(f"mean_set_size needs one figure for each of {COVERAGES}")
        return self


def probabilities(outputs: Floats, kind: OutputKind, temperature: float = 1.0) -> Floats:
    """Turn outputs of shape (N, C) into probabilities of shape (N, C) whose rows sum to 1.

    Logits are divided by the temperature and go through the softmax (Guo et al. 2017;
    log-probabilities are logits too); probabilities are raised to its inverse, which comes to the
    same, and brought to the sum of 1. Raises InferenceError where an output is not finite or a row
    of probabilities is negative or sums to nothing.
    """
    if not np.isfinite(outputs).all():
        raise InferenceError("The model gave numbers that are not finite.")
    peaks = outputs.max(axis=1, keepdims=True)
    if kind == "logits":
        positive = np.exp((outputs - peaks) / temperature)
    elif (outputs < 0).any() or (peaks <= 0).any():
        raise InferenceError("The model gave numbers that are no probabilities.")
    else:
        positive = (outputs / peaks) ** (1 / temperature)
    scaled: Floats = positive / positive.sum(axis=1, keepdims=True)
    return scaled


def ood_scores(logits: Floats) -> Floats:
    """The free energy -log(sum(exp(logits))) of logits of shape (N, C), shape (N,).

    Larger is less like what the model knows (Liu et al. 2020). The logits are the network's own,
    not divided by any temperature. Log-probabilities all have the energy 0, which tells nothing.
    """
    peaks = logits.max(axis=1)
    scores: Floats = -(peaks + np.log(np.exp(logits - peaks[:, np.newaxis]).sum(axis=1)))
    return scores


def prediction_sets(
    probabilities: Floats, sets: Iterable[SetThreshold], coverage: float
) -> NDArray[np.bool_]:
    """Which labels belong to the prediction set of each answer: (N, C) for probabilities (N, C).

    A label does whose calibrated probability reaches the threshold of its group (split conformal:
    Sadinle et al. 2019), the most probable one in any case. The groups, by confidence, keep the
    promise among unsure pictures too (Mondrian conformal: Vovk et al. 2005).
    Raises ValueError where `sets` has no such coverage.
    """
    confidences = probabilities.max(axis=1)
    thresholds = np.empty_like(confidences)
    for min_confidence, min_probability in reversed(_groups(sets, coverage)):
        thresholds[confidences >= min_confidence] = min_probability
    found: NDArray[np.bool_] = probabilities >= np.minimum(thresholds, confidences)[:, np.newaxis]
    return found


class SetSize:
    """How many labels a prediction set has: `prediction_sets` for one answer, without arrays."""

    def __init__(self, sets: Iterable[SetThreshold]) -> None:
        sets = tuple(sets)
        self._groups: Final = {one.coverage: _groups(sets, one.coverage) for one in sets}

    def __call__(self, probabilities: Floats, coverage: float) -> int:
        """How many of the most probable labels, for probabilities of shape (C,).

        Raises ValueError where there are no thresholds of that coverage.
        """
        if coverage not in self._groups:
            raise _unknown(coverage)
        confidence = probabilities.max()
        threshold = next(p for c, p in self._groups[coverage] if confidence >= c)
        return int(np.count_nonzero(probabilities >= min(threshold, confidence)))


def _groups(sets: Iterable[SetThreshold], coverage: float) -> list[tuple[np.float32, np.float32]]:
    """(min_confidence, min_probability), the most confident first, as exact as probabilities."""
    found = [
        (np.float32(one.min_confidence), np.float32(one.min_probability))
        for one in sets
        if one.coverage == coverage
    ]
    if not found:
        raise _unknown(coverage)
    return sorted(found, reverse=True)


def _unknown(coverage: float) -> ValueError:
    return ValueError(f"not calibrated for a coverage of {coverage}")
