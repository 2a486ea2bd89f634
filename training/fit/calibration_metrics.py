"""How far the answers of a calibrated model are to be trusted, as figures for its manifest."""

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

Figures = dict[str, float]


def promises(
    calibration: Calibration, kind: OutputKind, outputs: Floats, truth: NDArray[np.integer]
) -> Figures:
    """Measure outputs (N, C) against classes (N,): calibration error, coverage, size of sets."""
    scaled = probabilities(outputs, kind, calibration.temperature)
    correct = scaled.argmax(1) == truth
    figures = {"test_ece": reliability(scaled.max(axis=1), correct).ece}
    for coverage in COVERAGES:
        sets = prediction_sets(scaled, calibration.sets, coverage)
        covered = sets[np.arange(len(truth)), truth]
        figures[f"test_coverage_{coverage * 100:.0f}"] = float(covered.mean())
        figures[f"test_set_size_{coverage * 100:.0f}"] = float(sets.sum(axis=1).mean())
    return figures


def refusals(calibration: Calibration, known: Floats, strange: Floats) -> Figures:
    """Share of pictures that are taken for strangers, of its world (N, C) and not (M, C).

    Nothing where the model cannot tell.
    """
    if calibration.max_ood_score is None:
        return {}
    scores, strangers = ood_scores(known), ood_scores(strange)
    is_strange = np.repeat([False, True], [len(scores), len(strangers)])
    return {
        "test_refused": float((scores > calibration.max_ood_score).mean()),
        "nothing_refused": float((strangers > calibration.max_ood_score).mean()),
        "nothing_auroc": float(roc_auc_score(is_strange, np.concatenate((scores, strangers)))),
    }
