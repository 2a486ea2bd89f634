"""Fitting of the calibration of binary and multi-label models to outputs for held-out images."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from calibration import apply
from calibration.apply import COVERAGES, Calibration, Floats, LabelScaling, OutputKind
from calibration.fit import CalibrationError, fit_sets
from calibration.sigmoid import DEFAULT_THRESHOLD, ProbabilityMap, sigmoid, to_logits

Mask = NDArray[np.bool_]

FOLDS: Final = 5
# A label with fewer images that have it, or that do not, keeps its probabilities and the default
# threshold.
MIN_IMAGES: Final = 10
_SLOPES: Final = (0.05, 20.0)
_INTERCEPT: Final = 20.0  # largest absolute value
_IDENTITY: Final = LabelScaling(slope=1.0, intercept=0.0)


@dataclass(frozen=True, slots=True)
class LabelFit:
    """Scaling and threshold of one label.

    `f1` is measured by cross-validation: scaling and threshold come from other images than those
    that they are measured on. `default_f1` is that of the uncalibrated probabilities at
    DEFAULT_THRESHOLD. Both are None for a label with too few images.
    """

    scaling: LabelScaling
    threshold: float
    f1: float | None
    default_f1: float | None


def fit_labels(outputs: Floats, truth: Mask, kind: OutputKind) -> list[LabelFit]:
    """Return scaling and threshold of each label, for outputs and true labels of shape (N, C)."""
    logits = to_logits(outputs, kind)
    return [_fit_label(logits[:, index], truth[:, index]) for index in range(truth.shape[1])]


def calibrate_labels(fits: Sequence[LabelFit], images: int, source: str) -> Calibration:
    """Return the calibration of a multi-label model; raise CalibrationError without images."""
    if not images:
        raise CalibrationError("There are no images to calibrate with.")
    return Calibration(
        scaling=tuple(each.scaling for each in fits),
        thresholds=tuple(each.threshold for each in fits),
        pictures=images,
        source=f"{source} ({images:,})",
    )


def calibrate_binary(
    outputs: Floats, truth: NDArray[np.intp], kind: OutputKind, source: str
) -> Calibration:
    """Return the calibration of a binary model, for outputs (N, 1) and true classes 0 or 1 (N,).

    Slope and intercept of the scaling shift the output at which the other label becomes the most
    probable one. Raise CalibrationError if all images have the same label.
    """
    if len(np.unique(truth)) < 2:
        raise CalibrationError("The calibration of a binary model needs images of both labels.")
    scaling = (fit_scaling(to_logits(outputs, kind)[:, 0], truth == 1),)
    shares = ProbabilityMap("binary", kind, scaling=scaling)(outputs)
    sets = fit_sets(shares, truth)
    sizes = {c: apply.prediction_sets(shares, sets, c).sum(1).mean() for c in COVERAGES}
    return Calibration(
        scaling=scaling,
        sets=sets,
        pictures=len(truth),
        source=f"{source} ({len(truth):,})",
        mean_set_size={str(c): round(float(size), 4) for c, size in sizes.items()},
    )


def fit_scaling(logits: Floats, truth: Mask) -> LabelScaling:
    """Return the scaling (Platt 1999) that maximizes the likelihood of `truth` (N,).

    The targets are those of Platt, which are not quite 0 and 1: a model that makes no mistake on a
    few images would otherwise get probabilities of 0 and 1.
    """
    positives = int(truth.sum())
    target = np.where(
        truth, (positives + 1) / (positives + 2), 1 / (len(truth) - positives + 2)
    ).astype(np.float64)
    values = logits.astype(np.float64)

    def loss(parameters: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        scaled = parameters[0] * values + parameters[1]
        errors = sigmoid(scaled) - target
        losses = np.logaddexp(0, scaled) - target * scaled
        return float(losses.mean()), np.array([(errors * values).mean(), errors.mean()])

    bounds = [_SLOPES, (-_INTERCEPT, _INTERCEPT)]
    found = minimize(loss, np.array([1.0, 0.0]), jac=True, method="L-BFGS-B", bounds=bounds)
    slope, intercept = found.x.tolist()
    return LabelScaling(slope=round(slope, 5), intercept=round(intercept, 5))


def fit_threshold(probabilities: Floats, truth: Mask) -> float:
    """Return the threshold with the highest F1 on images (N,), between two probabilities."""
    order = np.argsort(-probabilities, kind="stable")
    ranked, hits = probabilities[order].astype(np.float64), np.cumsum(truth[order])
    f1 = 2 * hits / (np.arange(1, len(ranked) + 1) + truth.sum())
    is_last = np.append(ranked[1:] < ranked[:-1], True)  # of those with the same probability
    best = int(np.argmax(np.where(is_last, f1, -1)))
    below = ranked[best + 1] if best + 1 < len(ranked) else 0.0
    return float((ranked[best] + below) / 2)


def _fit_label(logits: Floats, truth: Mask) -> LabelFit:
    if min(truth.sum(), (~truth).sum()) < MIN_IMAGES:
        return LabelFit(_IDENTITY, DEFAULT_THRESHOLD, None, None)
    scaling = fit_scaling(logits, truth)
    folds = _folds(truth)
    thresholds = []
    decisions = np.zeros(len(truth), np.bool_)
    at_default = np.zeros(len(truth), np.bool_)
    for fold in range(FOLDS):
        held = folds == fold
        other = fit_scaling(logits[~held], truth[~held])
        thresholds.append(fit_threshold(_scale(logits[~held], other), truth[~held]))
        shares = _scale(logits[held], other)
        decisions[held] = shares >= thresholds[-1]
        at_default[held] = shares >= DEFAULT_THRESHOLD
    f1, calibrated_f1 = _f1(decisions, truth), _f1(at_default, truth)
    threshold = float(np.median(thresholds))
    default_f1 = _f1(logits >= 0, truth)
    # Without a better threshold, the decisions stay as they are.
    if default_f1 >= max(f1, calibrated_f1):
        f1, threshold = default_f1, float(_scale(np.zeros(1, np.float32), scaling)[0])
    elif calibrated_f1 >= f1:
        f1, threshold = calibrated_f1, DEFAULT_THRESHOLD
    return LabelFit(scaling, min(max(round(threshold, 5), 1e-5), 1.0), f1, default_f1)


def _folds(truth: Mask, seed: int = 0) -> NDArray[np.intp]:
    """Return the fold of each image; all folds have the same share of images with the label."""
    order = np.random.default_rng(seed).permutation(len(truth))
    folds = np.zeros(len(truth), np.intp)
    for value in (False, True):
        members = order[truth[order] == value]
        folds[members] = np.arange(len(members)) % FOLDS
    return folds


def _scale(logits: Floats, scaling: LabelScaling) -> Floats:
    scaled: Floats = sigmoid(scaling.slope * logits + scaling.intercept)
    return scaled


def _f1(decisions: Mask, truth: Mask) -> float:
    total = int(decisions.sum() + truth.sum())
    return 2 * int((decisions & truth).sum()) / total if total else math.nan
