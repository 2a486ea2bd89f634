"""Metrics of a multi-label classifier, computed with scikit-learn.

metrics = measure_labels(labels, probabilities, decisions, truth)
metrics.mean_average_precision, metrics.macro.f1, metrics.classes[0].f1
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score, precision_recall_fscore_support

from evaluation.intervals import Interval, wilson
from evaluation.metrics import Averages
from evaluation.types import Floats

Masks = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class LabelMetrics:
    """Metrics of one label.

    `support` is the number of images that have the label. Average precision and recall of a label
    without images, and the precision of a label that was never predicted, are None.
    """

    label: str
    average_precision: float | None
    precision: float | None
    recall: float | None
    f1: float | None
    support: int


@dataclass(frozen=True, slots=True)
class MultiLabelMetrics:
    """Metrics of N labeled images, of which each has any number of C labels.

    `mean_average_precision` and `macro` are means over the labels that occur in the data, None
    without any; `micro` counts all decisions together. `exact_match` is the share of images all of
    whose labels are right, with Wilson's 95% interval. `mean_labels` is the number of labels per
    image in the data.
    """

    count: int
    mean_average_precision: float | None
    macro: Averages | None
    micro: Averages
    exact_match: float
    exact_match_interval: Interval
    mean_labels: float
    classes: tuple[LabelMetrics, ...]


def measure_labels(
    labels: Sequence[str], probabilities: Floats, decisions: Masks, truth: Masks
) -> MultiLabelMetrics:
    """Compute the metrics of probabilities, decisions and true labels, each of shape (N, C).

    Raise ValueError if the shapes do not match or N is 0.
    """
    shape = len(truth), len(labels)
    if not len(truth) or any(each.shape != shape for each in (probabilities, decisions, truth)):
        raise ValueError(f"the arrays must have the shape {shape}, and at least one row")
    exact = (decisions == truth).all(axis=1)
    classes = _classes(labels, probabilities, decisions, truth)
    precisions = [one.average_precision for one in classes if one.average_precision is not None]
    return MultiLabelMetrics(
        count=len(truth),
        mean_average_precision=float(np.mean(precisions)) if precisions else None,
        macro=_macro([one for one in classes if one.support]),
        micro=_micro(truth, decisions),
        exact_match=float(exact.mean()),
        exact_match_interval=wilson(int(exact.sum()), len(truth)),
        mean_labels=float(truth.sum(axis=1).mean()),
        classes=classes,
    )


def _classes(
    labels: Sequence[str], probabilities: Floats, decisions: Masks, truth: Masks
) -> tuple[LabelMetrics, ...]:
    classes = []
    for index, label in enumerate(labels):
        actual, decided = truth[:, index], decisions[:, index]
        support = int(actual.sum())
        hits, found = int((actual & decided).sum()), int(decided.sum())
        classes.append(
            LabelMetrics(
                label,
                float(average_precision_score(actual, probabilities[:, index]))
                if support
                else None,
                hits / found if found else None,
                hits / support if support else None,
                2 * hits / (found + support) if found + support else None,
                support,
            )
        )
    return tuple(classes)


def _macro(classes: Sequence[LabelMetrics]) -> Averages | None:
    if not classes:
        return None
    values = [(one.precision or 0.0, one.recall or 0.0, one.f1 or 0.0) for one in classes]
    return Averages(*np.mean(values, axis=0).tolist())


def _micro(truth: Masks, decisions: Masks) -> Averages:
    precision, recall, f1, _ = precision_recall_fscore_support(
        truth.ravel(), decisions.ravel(), average="binary", zero_division=0
    )
    return Averages(float(precision), float(recall), float(f1))
