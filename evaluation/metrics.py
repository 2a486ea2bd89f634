"""Metrics of a classifier, computed with scikit-learn where possible.

metrics = measure(labels, probabilities, truth)
metrics.accuracy, metrics.macro.f1, metrics.reliability.ece
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

from evaluation.intervals import Interval, wilson
from evaluation.types import Floats

Doubles = NDArray[np.float64]
Indices = NDArray[np.intp]

BINS: Final = 15  # Guo et al. 2017
MIN_BIN_IMAGES: Final = 10  # a bin with fewer images says little about the accuracy
MAX_CURVE_POINTS: Final = 200
_CHUNK_ROWS: Final = 4096  # ranking takes several times the memory of the rows
_BIN_EDGES: Final = np.linspace(0, 1, BINS + 1)[1:-1]


@dataclass(frozen=True, slots=True)
class ClassMetrics:
    """Metrics of one class.

    The precision of a class that was never predicted and the recall of a class without images are
    None. `recall_interval` is Wilson's 95% interval.
    """

    label: str
    precision: float | None
    recall: float | None
    f1: float | None
    support: int
    recall_interval: Interval | None


@dataclass(frozen=True, slots=True)
class Averages:
    """Mean precision, recall and F1 over the classes in the data."""

    precision: float
    recall: float
    f1: float


@dataclass(frozen=True, slots=True)
class RocCurve:
    """One class against all others: false and true positive rates of shape (P,), and the area."""

    label: str
    fpr: Doubles
    tpr: Doubles
    auc: float


@dataclass(frozen=True, slots=True)
class Reliability:
    """Agreement of confidence and accuracy in 15 bins of confidence of equal width.

    `confidence` and `accuracy` (means per bin) and `count` have shape (B,), without empty bins.
    `ece` is the expected calibration error: the mean distance of confidence and accuracy, weighted
    by count (Naeini et al. 2015).
    """

    confidence: Doubles
    accuracy: Doubles
    count: Indices
    ece: float

    @property
    def segments(self) -> tuple[int | None, ...]:
        """The number of the line to which each bin belongs; None for fewer than 10 images.

        A line joins adjacent bins only: bins without enough images interrupt it.
        """
        positions = np.searchsorted(_BIN_EDGES, self.confidence)
        is_sparse = self.count < MIN_BIN_IMAGES
        starts = np.diff(positions, prepend=-2) > 1
        starts[1:] |= is_sparse[:-1]
        numbers = np.cumsum(starts).tolist()
        return tuple(
            None if sparse else number for sparse, number in zip(is_sparse, numbers, strict=True)
        )


@dataclass(frozen=True, slots=True)
class Metrics:
    """Metrics of N labeled images.

    `accuracy_interval` is Wilson's 95% interval. `confusion` has shape (C, C), rows are the true
    classes. `top5` is None for five classes or fewer. `curves` has the classes with positives and
    negatives, `without_curve` the others; `macro_auc` is the mean area, None without curves.
    """

    labels: tuple[str, ...]
    count: int
    accuracy: float
    accuracy_interval: Interval
    top5: float | None
    classes: tuple[ClassMetrics, ...]
    macro: Averages
    weighted: Averages
    confusion: Indices
    curves: tuple[RocCurve, ...]
    macro_auc: float | None
    without_curve: tuple[str, ...]
    reliability: Reliability


def measure(labels: Sequence[str], probabilities: Floats, truth: Indices) -> Metrics:
    """Compute the metrics of probabilities (N, C), in the order of `labels`, and true indices (N,).

    Raise ValueError if the shapes do not match or N is 0.
    """
    if len(truth) == 0 or probabilities.shape != (len(truth), len(labels)):
        raise ValueError(
            f"{len(truth)} true labels and {len(labels)} classes do not match probabilities of "
            f"shape {probabilities.shape}"
        )
    predicted = probabilities.argmax(1)
    confidence = probabilities.max(1)
    curves = roc_curves(labels, probabilities, truth)
    with_curve = {curve.label for curve in curves}
    return Metrics(
        labels=tuple(labels),
        count=len(truth),
        accuracy=float(accuracy_score(truth, predicted)),
        accuracy_interval=wilson(int((predicted == truth).sum()), len(truth)),
        top5=_top5(probabilities, truth) if len(labels) > 5 else None,
        classes=_classes(labels, truth, predicted),
        macro=_averages(truth, predicted, "macro"),
        weighted=_averages(truth, predicted, "weighted"),
        confusion=confusion_matrix(truth, predicted, labels=range(len(labels))),
        curves=curves,
        macro_auc=float(np.mean([curve.auc for curve in curves])) if curves else None,
        without_curve=tuple(label for label in labels if label not in with_curve),
        reliability=reliability(confidence, predicted == truth),
    )


def roc_curves(
    labels: Sequence[str], probabilities: Floats, truth: Indices
) -> tuple[RocCurve, ...]:
    """Return the curve of each class that has positives and negatives.

    Areas are those of the full curves, which are then reduced to 200 points.
    """
    curves = []
    for index, label in enumerate(labels):
        positive = truth == index
        if positive.any() and not positive.all():
            fpr, tpr, _ = roc_curve(positive, probabilities[:, index])
            count = min(len(fpr), MAX_CURVE_POINTS)
            points = np.linspace(0, len(fpr) - 1, count).round().astype(int)
            curves.append(RocCurve(label, fpr[points], tpr[points], float(auc(fpr, tpr))))
    return tuple(curves)


def reliability(confidence: Floats, correct: NDArray[np.bool_]) -> Reliability:
    """Return the reliability of confidences (N,) given which predictions are correct (N,)."""
    within = confidence.clip(0, 1)  # rounding may exceed 1
    accuracy, mean = calibration_curve(correct.astype(int), within, n_bins=BINS, pos_label=1)
    bins = np.searchsorted(_BIN_EDGES, within)  # as in scikit-learn
    count = np.bincount(bins)
    count = count[count > 0]
    ece = float(np.average(np.abs(accuracy - mean), weights=count))
    return Reliability(mean, accuracy, count, ece)


def _top5(probabilities: Floats, truth: Indices) -> float:
    classes = range(probabilities.shape[1])
    chunks = [slice(start, start + _CHUNK_ROWS) for start in range(0, len(truth), _CHUNK_ROWS)]
    hits = sum(
        top_k_accuracy_score(truth[rows], probabilities[rows], k=5, labels=classes, normalize=False)
        for rows in chunks
    )
    return float(hits / len(truth))


def _classes(labels: Sequence[str], truth: Indices, predicted: Indices) -> tuple[ClassMetrics, ...]:
    columns = precision_recall_fscore_support(
        truth, predicted, labels=range(len(labels)), zero_division=np.nan
    )
    hits = np.bincount(truth[predicted == truth], minlength=len(labels)).tolist()
    return tuple(
        ClassMetrics(
            label,
            _optional(precision),
            _optional(recall),
            _optional(f1),
            int(support),
            wilson(correct, int(support)) if support else None,
        )
        for label, correct, precision, recall, f1, support in zip(
            labels, hits, *columns, strict=True
        )
    )


def _averages(truth: Indices, predicted: Indices, average: str) -> Averages:
    precision, recall, f1, _ = precision_recall_fscore_support(
        truth, predicted, labels=np.unique(truth), average=average, zero_division=0
    )
    return Averages(float(precision), float(recall), float(f1))


def _optional(value: float) -> float | None:
    return None if np.isnan(value) else float(value)


def restrict_confusion_matrix(
    matrix: Indices, labels: Sequence[str], limit: int | None = None
) -> tuple[Indices, tuple[str, ...]]:
    """Return the rows and columns, and the labels, of the classes that occur, in order.

    `matrix` has shape (C, C). Of more than `limit` classes, those with the largest sums of absolute
    values outside of the diagonal are kept.
    """
    sizes = np.abs(matrix)
    occurring = np.flatnonzero(sizes.sum(0) + sizes.sum(1))
    if limit is not None and len(occurring) > limit:
        mistakes = sizes - np.diag(np.diag(sizes))
        totals = (mistakes.sum(0) + mistakes.sum(1))[occurring]
        occurring = np.sort(occurring[np.argsort(-totals, kind="stable")[:limit]])
    kept: Indices = matrix[np.ix_(occurring, occurring)]
    return kept, tuple(labels[index] for index in occurring.tolist())
