"""Metrics of a calibrated model for its manifest: calibration error, coverage, rejection rates."""

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from backend.inference.types import Floats
from calibration.apply import (
    COVERAGES,
    Calibration,
    OutputKind,
    ood_scores,
    prediction_sets,
    probabilities,
)
from evaluation.metrics import reliability


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
    inside, outside = ood_scores(in_distribution), ood_scores(out_of_distribution)
    is_outside = np.repeat([False, True], [len(inside), len(outside)])
    return {
        "test_refused": float((inside > calibration.max_ood_score).mean()),
        "nothing_refused": float((outside > calibration.max_ood_score).mean()),
        "nothing_auroc": float(roc_auc_score(is_outside, np.concatenate((inside, outside)))),
    }
