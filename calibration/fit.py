"""Fit a model's calibration to what it says of held-out pictures, which it never learnt from."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar

from backend.inference.types import Floats
from calibration.apply import (
    COVERAGES,
    Calibration,
    OutputKind,
    SetThreshold,
    ood_scores,
    prediction_sets,
    probabilities,
)

SURE = 0.95  # answers below have thresholds of their own, where there are enough of them
GROUP = 200  # so many
REFUSED = 0.01  # the share of pictures of the model's world that may be taken for strangers
TEMPERATURES = (0.05, 20.0)


class CalibrationError(Exception):
    """HeldOutOutputs-out pictures that nothing can be fitted to; the text says why."""


@dataclass(frozen=True)
class HeldOutOutputs:
    """What a model says of held-out pictures: `outputs` (N, C), and the true classes (N,)."""

    outputs: Floats
    truth: NDArray[np.intp]


def calibrate(held: Mapping[str, HeldOutOutputs], kind: OutputKind) -> Calibration:
    """Fit a calibration to the outputs of a model on one or several kinds of held-out pictures.

    All pictures count together. Raises CalibrationError where there are none.
    """
    outputs = np.concatenate([one.outputs for one in held.values()])
    truth = np.concatenate([one.truth for one in held.values()])
    if not len(truth):
        raise CalibrationError("There are no pictures to calibrate with.")
    temperature = fit_temperature(outputs, truth, kind)
    scaled = probabilities(outputs, kind, temperature)
    sets = fit_sets(scaled, truth)
    return Calibration(
        temperature=temperature,
        sets=sets,
        max_ood_score=fit_limit(outputs) if kind == "logits" else None,
        pictures=len(truth),
        source=", ".join(f"{name} ({len(one.truth):,})" for name, one in held.items()),
        mean_set_size={
            str(coverage): round(float(prediction_sets(scaled, sets, coverage).sum(1).mean()), 4)
            for coverage in COVERAGES
        },
    )


def fit_temperature(outputs: Floats, truth: NDArray[np.intp], kind: OutputKind) -> float:
    """The temperature that makes the true classes likeliest (Guo et al. 2017).

    One picture more is imagined, which is of every class alike: without it, a model that makes no
    mistake on a few pictures would be called certain.
    """

    def unlikeliness(log_temperature: float) -> float:
        scaled = probabilities(outputs, kind, math.exp(log_temperature))
        logs = np.log(np.maximum(scaled.astype(np.float64), 1e-30))
        return -float(logs[np.arange(len(truth)), truth].sum() + logs.mean())

    low, high = TEMPERATURES
    found = minimize_scalar(unlikeliness, bounds=(math.log(low), math.log(high)), method="bounded")
    return round(math.exp(found.x), 4)


def fit_sets(scaled: Floats, truth: NDArray[np.intp]) -> tuple[SetThreshold, ...]:
    """Thresholds of split-conformal sets for probabilities (N, C) (Sadinle et al. 2019).

    Answers that are sure and those that are not get thresholds of their own, so that the coverage
    holds among either (Vovk et al. 2005): one threshold for all would let the many easy pictures
    pay for the hard ones, whose sets would hold a single label, and often the wrong one.
    """
    confidences = scaled.max(axis=1)
    of_truth = scaled[np.arange(len(truth)), truth]
    sure = confidences >= np.float32(SURE)
    groups = {0.0: ~sure, SURE: sure}
    if min(sure.sum(), (~sure).sum()) < GROUP:
        groups = {0.0: np.ones_like(sure)}
    return tuple(
        SetThreshold(
            coverage=coverage,
            min_confidence=min_confidence,
            min_probability=_reached(of_truth[group], coverage),
        )
        for coverage in COVERAGES
        for min_confidence, group in groups.items()
    )


def fit_limit(logits: Floats) -> float | None:
    """The out-of-distribution score that a share of REFUSED exceeds.

    None with too few pictures, and for log-probabilities, whose energy is 0 whatever the picture.
    """
    scores = np.sort(ood_scores(logits))
    beyond = math.floor(REFUSED * (len(scores) + 1))
    tells = scores[-1] - scores[0] > 1e-3
    return float(scores[-beyond]) if beyond and tells else None


def _reached(of_truth: Floats, coverage: float) -> float:
    """The probability that the true class reaches with `coverage`; 0: too few pictures to say."""
    below = math.floor((1 - coverage) * (len(of_truth) + 1) + 1e-9)
    return float(np.sort(of_truth)[below - 1]) if below else 0.0
