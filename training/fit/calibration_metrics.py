"""Metrics of a calibrated model for its manifest: calibration error, coverage, rejection rates."""

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from backend.inference.types import Floats
from calibration.apply import (
    COVERAGES,
    Calibration,
    OodMethod,
    OutputKind,
    ood_scores,
    prediction_sets,
    probabilities,
)
from calibration.fit import HeldOutOutputs, calibrate
from evaluation.metrics import reliability

FOLDS = 5
ECE_BINS = 10


def measure_calibration(
    calibration: Calibration, kind: OutputKind, outputs: Floats, truth: NDArray[np.integer]
) -> dict[str, float]:
    """Return calibration error, coverage and set size for outputs (N, C) and classes (N,)."""
    scaled = probabilities(outputs, kind, calibration.temperature)
    correct = scaled.argmax(1) == truth
    metrics = {"test_ece": reliability(scaled.max(axis=1), correct).ece}
    for coverage in COVERAGES:
        sets = prediction_sets(scaled, calibration.sets, coverage)
        covered = sets[np.arange(len(truth)), truth]
        metrics[f"test_coverage_{coverage * 100:.0f}"] = float(covered.mean())
        metrics[f"test_set_size_{coverage * 100:.0f}"] = float(sets.sum(axis=1).mean())
    return metrics


def measure_rejection(
    calibration: Calibration, in_distribution: Floats, out_of_distribution: Floats
) -> dict[str, float]:
    """Return the rejected shares and the AUROC for logits (N, C) and (M, C).

    Empty if the model has no out-of-distribution score.
    """
    if calibration.max_ood_score is None:
        return {}
    inside, outside = (
        ood_scores(
            logits,
            probabilities(logits, "logits", calibration.temperature),
            calibration.ood_method,
        )
        for logits in (in_distribution, out_of_distribution)
    )
    is_outside = np.repeat([False, True], [len(inside), len(outside)])
    return {
        "test_refused": float((inside > calibration.max_ood_score).mean()),
        "nothing_refused": float((outside > calibration.max_ood_score).mean()),
        "nothing_auroc": float(roc_auc_score(is_outside, np.concatenate((inside, outside)))),
    }


def cross_fit(
    held_out: HeldOutOutputs, kind: OutputKind, ood_method: OodMethod = "energy"
) -> dict[str, float]:
    """Return accuracy, calibration error, coverage, set size and the rejected share.

    Each image is measured with the calibration that was fitted to the other folds, so the figures
    hold for new images. The calibration error has bins with equal numbers of images.
    """
    order = np.random.default_rng(0).permutation(len(held_out.truth))
    scaled = np.empty_like(held_out.outputs)
    sets = {coverage: np.empty(scaled.shape, dtype=np.bool_) for coverage in COVERAGES}
    is_rejected = np.zeros(len(order), dtype=np.bool_)
    for fold in np.array_split(order, FOLDS):
        rest = np.setdiff1d(order, fold)
        fitted = HeldOutOutputs(held_out.outputs[rest], held_out.truth[rest])
        calibration = calibrate({"": fitted}, kind, ood_method)
        logits = held_out.outputs[fold]
        scaled[fold] = probabilities(logits, kind, calibration.temperature)
        for coverage in COVERAGES:
            sets[coverage][fold] = prediction_sets(scaled[fold], calibration.sets, coverage)
        if calibration.max_ood_score is not None:
            scores = ood_scores(logits, scaled[fold], ood_method)
            is_rejected[fold] = scores > calibration.max_ood_score
    rows = np.arange(len(order))
    ranks = (scaled > scaled[rows, held_out.truth][:, np.newaxis]).sum(axis=1)
    metrics = {
        "test_accuracy": float((ranks == 0).mean()),
        "test_top5_accuracy": float((ranks < 5).mean()),
        "test_ece": equal_mass_ece(scaled.max(axis=1), ranks == 0),
    }
    for coverage, mask in sets.items():
        covered = mask[rows, held_out.truth]
        metrics[f"test_coverage_{coverage * 100:.0f}"] = float(covered.mean())
        metrics[f"test_set_size_{coverage * 100:.0f}"] = float(mask.sum(axis=1).mean())
    return {**metrics, "test_refused": float(is_rejected.mean())}


def equal_mass_ece(confidence: Floats, correct: NDArray[np.bool_]) -> float:
    """Return the expected calibration error in ECE_BINS bins of equal numbers of images."""
    bins = np.array_split(np.argsort(confidence, kind="stable"), ECE_BINS)
    gaps = [abs(confidence[each].mean() - correct[each].mean()) * len(each) for each in bins]
    return float(sum(gaps) / len(confidence))
