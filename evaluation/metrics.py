"""Labels and probabilities into figures; scikit-learn computes all that it knows.

metrics = measure(labels, probabilities, truth)
metrics.accuracy, metrics.macro.f1, metrics.calibration.ece
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from sklearn.calibration import calibration_curve
from sklearn.metrics import (
    accuracy_score,
    auc,
    confusion_matrix,
    precision_recall_fscore_support,
    roc_curve,
    top_k_accuracy_score,
)

from evaluation.types import Floats

Doubles = NDArray[np.float64]
Indices = NDArray[np.intp]

BINS: Final = 15  # Guo et al. 2017
CURVE_POINTS: Final = 200
_ROWS: Final = 4096  # ranked at a time: ranking takes several times the memory of the rows


@dataclass(frozen=True, slots=True)
class ClassFigures:
    """One class. What cannot be said is None: the precision of a class that was never predicted,
    the recall of one that the data does not have.
    """

    label: str
    precision: float | None
    recall: float | None
    f1: float | None
    support: int


@dataclass(frozen=True, slots=True)
class Averages:
    """Precision, recall and F1 over the classes that the data has."""

    precision: float
    recall: float
    f1: float


@dataclass(frozen=True, slots=True)
class RocCurve:
    """One class against the others: false and true positive rates, shapes (P,), and the area."""

    label: str
    fpr: Doubles
    tpr: Doubles
    auc: float


@dataclass(frozen=True, slots=True)
class Reliability:
    """How confidence and accuracy agree, in 15 bins of equal width of the prediction's confidence.

    `confidence`, `accuracy` (means within the bin) and `count` have the shape (B,), of the bins
    that are not empty. `ece` is their mean distance, weighted by count (Naeini et al. 2015).
    """

    confidence: Doubles
    accuracy: Doubles
    count: Indices
    ece: float


@dataclass(frozen=True, slots=True)
class Metrics:
    """All figures of N labelled pictures; `confusion` has shape (C, C), rows are the truth.

    `top5` is None with five classes or fewer. `curves` has the classes with positives and
    negatives, `without_curve` the others; `macro_auc` is the mean area, None without curves.
    """

    labels: tuple[str, ...]
    count: int
    accuracy: float
    top5: float | None
    classes: tuple[ClassFigures, ...]
    macro: Averages
    weighted: Averages
    confusion: Indices
    curves: tuple[RocCurve, ...]
    macro_auc: float | None
    without_curve: tuple[str, ...]
    reliability: Reliability


def measure(labels: Sequence[str], probabilities: Floats, truth: Indices) -> Metrics:
    """Measure probabilities of shape (N, C), in the order of `labels`, against indices (N,).

    Raises ValueError where the shapes do not fit each other, or N is 0.
    """
    if len(truth) == 0 or probabilities.shape != (len(truth), len(labels)):
        raise ValueError(
            f"{len(truth)} true labels and {len(labels)} classes do not fit probabilities of the "
            f"shape {probabilities.shape}"
        )
    predicted = probabilities.argmax(1)
    confidence = probabilities.max(1)
    curves = roc_curves(labels, probabilities, truth)
    drawn = {curve.label for curve in curves}
    return Metrics(
        labels=tuple(labels),
        count=len(truth),
        accuracy=float(accuracy_score(truth, predicted)),
        top5=_top5(probabilities, truth) if len(labels) > 5 else None,
        classes=_classes(labels, truth, predicted),
        macro=_averages(truth, predicted, "macro"),
        weighted=_averages(truth, predicted, "weighted"),
        confusion=confusion_matrix(truth, predicted, labels=range(len(labels))),
        curves=curves,
        macro_auc=float(np.mean([curve.auc for curve in curves])) if curves else None,
        without_curve=tuple(label for label in labels if label not in drawn),
        reliability=reliability(confidence, predicted == truth),
    )


def roc_curves(
    labels: Sequence[str], probabilities: Floats, truth: Indices
) -> tuple[RocCurve, ...]:
    """Each class against the others; classes without positives or without negatives have none.

    Areas are of the whole curves, which are then thinned to 200 points.
    """
    curves = []
    for index, label in enumerate(labels):
        positive = truth == index
        if positive.any() and not positive.all():
            fpr, tpr, _ = roc_curve(positive, probabilities[:, index])
            keep = np.linspace(0, len(fpr) - 1, min(len(fpr), CURVE_POINTS)).round().astype(int)
            curves.append(RocCurve(label, fpr[keep], tpr[keep], float(auc(fpr, tpr))))
    return tuple(curves)


def reliability(confidence: Floats, correct: NDArray[np.bool_]) -> Reliability:
    """Compare confidences of shape (N,) with whether the predictions were right."""
    within = confidence.clip(0, 1)  # rounding may lead past 1
    accuracy, mean = calibration_curve(correct.astype(int), within, n_bins=BINS, pos_label=1)
    places = np.searchsorted(np.linspace(0, 1, BINS + 1)[1:-1], within)  # as scikit-learn's
    count = np.bincount(places)
    count = count[count > 0]
    ece = float(np.average(np.abs(accuracy - mean), weights=count))
    return Reliability(mean, accuracy, count, ece)


def _top5(probabilities: Floats, truth: Indices) -> float:
    classes = range(probabilities.shape[1])
    hits = sum(
        top_k_accuracy_score(
            truth[start : start + _ROWS],
            probabilities[start : start + _ROWS],
            k=5,
            labels=classes,
            normalize=False,
        )
        for start in range(0, len(truth), _ROWS)
    )
    return float(hits / len(truth))


def _classes(labels: Sequence[str], truth: Indices, predicted: Indices) -> tuple[ClassFigures, ...]:
    columns = precision_recall_fscore_support(
        truth, predicted, labels=range(len(labels)), zero_division=np.nan
    )
    rows = zip(labels, *columns, strict=True)
    return tuple(
        ClassFigures(label, _known(precision), _known(recall), _known(f1), int(support))
        for label, precision, recall, f1, support in rows
    )


def _averages(truth: Indices, predicted: Indices, average: str) -> Averages:
    precision, recall, f1, _ = precision_recall_fscore_support(
        truth, predicted, labels=np.unique(truth), average=average, zero_division=0
    )
    return Averages(float(precision), float(recall), float(f1))


def _known(value: float) -> float | None:
    return None if np.isnan(value) else float(value)
