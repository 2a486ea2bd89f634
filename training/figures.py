"""Curves of a training run, and the confusion matrix and ROC curves of its final test."""

import io
from typing import TypedDict

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray
from sklearn import metrics

from backend.inference.digits import LABELS
from backend.inference.types import Floats
from training.fit import Record

POINTS = 200  # of a ROC curve that are kept


class RocCurve(TypedDict):
    """One digit against the others: false and true positive rates, and the area under them."""

    label: str
    auc: float
    fpr: list[float]
    tpr: list[float]


def confusion_matrix(labels: NDArray[np.uint8], probabilities: Floats) -> NDArray[np.int64]:
    """Counts (C, C): rows are the true labels, columns what was read."""
    matrix: NDArray[np.int64] = metrics.confusion_matrix(
        labels, probabilities.argmax(1), labels=range(len(LABELS))
    )
    return matrix


def roc_curves(labels: NDArray[np.uint8], probabilities: Floats) -> list[RocCurve]:
    """The curves of all digits that `labels` have, thinned; the areas are of the whole curves."""
    curves: list[RocCurve] = []
    for index, label in enumerate(LABELS):
        positive = labels == index
        if positive.any() and not positive.all():
            fpr, tpr, _ = metrics.roc_curve(positive, probabilities[:, index])
            keep = np.linspace(0, len(fpr) - 1, min(len(fpr), POINTS)).round().astype(int)
            curves.append(
                {
                    "label": label,
                    "auc": float(metrics.auc(fpr, tpr)),
                    "fpr": fpr[keep].tolist(),
                    "tpr": tpr[keep].tolist(),
                }
            )
    return curves


def curves(history: list[Record]) -> Figure:
    """Loss, error and rate of each epoch."""
    epochs = [record["epoch"] for record in history]
    figure = Figure(figsize=(12, 3.5), layout="constrained")
    loss, error, rate = figure.subplots(1, 3)
    for name, label in (("loss", "training, smoothed labels"), ("validation_loss", "validation")):
        loss.plot(epochs, [record[name] for record in history], marker=".", label=label)
    loss.legend()
    for name in (name for name in history[0] if name.startswith("accuracy_")):
        label = name.removeprefix("accuracy_").replace("_", " ")
        error.plot(epochs, [1 - record[name] for record in history], marker=".", label=label)
    error.legend()
    rate.plot(epochs, [record["rate"] for record in history], marker=".")
    for axes, title in ((loss, "loss"), (error, "share read wrongly"), (rate, "learning rate")):
        axes.set(title=title, xlabel="epoch", yscale="log")
    return figure


def draw_confusion(matrix: NDArray[np.int64]) -> Figure:
    figure = Figure(figsize=(6, 6), layout="constrained")
    axes = figure.subplots()
    metrics.ConfusionMatrixDisplay(matrix, display_labels=LABELS).plot(
        ax=axes, cmap="Blues", colorbar=False, im_kw={"norm": "symlog"}
    )
    return figure


def draw_roc(curves: list[RocCurve]) -> Figure:
    figure = Figure(figsize=(6, 6), layout="constrained")
    axes = figure.subplots()
    for curve in curves:
        axes.plot(curve["fpr"], curve["tpr"], label=f"{curve['label']}: {curve['auc']:.4f}")
    axes.set(
        title="each digit against the others, and the area under its curve",
        xlabel="false positive rate",
        ylabel="true positive rate",
    )
    axes.legend()
    return figure


def png(figure: Figure) -> bytes:
    content = io.BytesIO()
    figure.savefig(content, format="png", dpi=120)
    return content.getvalue()
