"""Fitting of a model's calibration to its outputs for held-out images."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar

from calibration import apply
from calibration.apply import (
    COVERAGES,
    Calibration,
    Floats,
    OodMethod,
    OutputKind,
    SetThreshold,
)

HIGH_CONFIDENCE = 0.95  # images below it get separate thresholds, if there are enough of them
MIN_GROUP_SIZE = 200
FALSE_OOD_RATE = 0.01  # share of in-distribution images that may be called out of distribution
TEMPERATURE_RANGE = (0.05, 20.0)


class CalibrationError(Exception):
    """The held-out images cannot be used; the message says why."""


@dataclass(frozen=True)
class HeldOutOutputs:
    """Model outputs for held-out images, shape (N, C), and the true class indices, shape (N,)."""

    outputs: Floats
    truth: NDArray[np.intp]


def calibrate(
    held_out: Mapping[str, HeldOutOutputs], kind: OutputKind, ood_method: OodMethod = "energy"
) -> Calibration:
    """Return the calibration fitted to all images of the `held_out` datasets, by name.

    Raise CalibrationError if there are no images.
    """
    outputs = np.concatenate([dataset.outputs for dataset in held_out.values()])
    truth = np.concatenate([dataset.truth for dataset in held_out.values()])
    if not len(truth):
        raise CalibrationError("There are no images to calibrate with.")
    temperature = fit_temperature(outputs, truth, kind)
    scaled = apply.probabilities(outputs, kind, temperature)
    sets = fit_sets(scaled, truth)
    sizes = {c: apply.prediction_sets(scaled, sets, c).sum(1).mean() for c in COVERAGES}
    return Calibration(
        temperature=temperature,
        sets=sets,
        ood_method=ood_method,
        max_ood_score=(
            fit_ood_limit(apply.ood_scores(outputs, scaled, ood_method))
            if kind == "logits"
            else None
        ),
        pictures=len(truth),
        source=", ".join(f"{name} ({len(each.truth):,})" for name, each in held_out.items()),
        mean_set_size={str(c): round(float(size), 4) for c, size in sizes.items()},
    )


def fit_temperature(outputs: Floats, truth: NDArray[np.intp], kind: OutputKind) -> float:
    """Return the temperature that maximizes the likelihood of the true classes (Guo et al. 2017).

    One image that belongs equally to every class is added as a prior. Without it, a model that
    makes no mistake on a few images would get a confidence of 1.
    """

    def negative_log_likelihood(log_temperature: float) -> float:
        scaled = apply.probabilities(outputs, kind, math.exp(log_temperature))
        logs = np.log(np.maximum(scaled.astype(np.float64), 1e-30))
        return -float(logs[np.arange(len(truth)), truth].sum() + logs.mean())

    low, high = TEMPERATURE_RANGE
    bounds = (math.log(low), math.log(high))
    optimum = minimize_scalar(negative_log_likelihood, bounds=bounds, method="bounded")
    return round(math.exp(optimum.x), 4)


def fit_sets(scaled: Floats, truth: NDArray[np.intp]) -> tuple[SetThreshold, ...]:
    """Return the thresholds of split-conformal sets for probabilities (N, C).

    Source: Sadinle et al. 2019. Images of high and of low confidence get separate thresholds, so
    that the coverage holds in both groups (Vovk et al. 2005). With one threshold for all, the many
    easy images would compensate for the hard ones, whose sets would have a single, often wrong
    label.
    """
    confidences = scaled.max(axis=1)
    truth_probabilities = scaled[np.arange(len(truth)), truth]
    is_confident = confidences >= np.float32(HIGH_CONFIDENCE)
    groups = {0.0: ~is_confident, HIGH_CONFIDENCE: is_confident}
    if min(is_confident.sum(), (~is_confident).sum()) < MIN_GROUP_SIZE:
        groups = {0.0: np.ones_like(is_confident)}
    return tuple(
        SetThreshold(
            coverage=coverage,
            min_confidence=min_confidence,
            min_probability=_quantile(truth_probabilities[group], coverage),
        )
        for coverage in COVERAGES
        for min_confidence, group in groups.items()
    )


def fit_ood_limit(scores: Floats) -> float | None:
    """Return the limit that a share of FALSE_OOD_RATE of the `scores`, shape (N,), exceeds.

    Return None for too few images, and for log-probabilities, whose energy is always 0.
    """
    scores = np.sort(scores)
    exceeding = math.floor(FALSE_OOD_RATE * (len(scores) + 1))
    has_spread = scores[-1] - scores[0] > 1e-3
    return float(scores[-exceeding]) if exceeding and has_spread else None


def _quantile(truth_probabilities: Floats, coverage: float) -> float:
    """Return the probability that a share `coverage` of the true classes reaches.

    Return 0 for too few images.
    """
    below = math.floor((1 - coverage) * (len(truth_probabilities) + 1) + 1e-9)
    return float(np.sort(truth_probabilities)[below - 1]) if below else 0.0
