"""Charts of metrics as SVG or PNG.

Path("roc.svg").write_text(to_svg(plot_roc(metrics.curves, metrics.macro_auc)))
Path("confusion.png").write_bytes(to_png(plot_confusion(metrics.confusion, metrics.labels)))
"""

import io
from collections.abc import Sequence
from typing import Any, Final

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from evaluation.escaping import escape_unprintable
from evaluation.metrics import MIN_BIN_IMAGES, Indices, Reliability, RocCurve

TEXT_COLOR: Final = "#1a1a1a"  # also of the axes
# Lines have enough contrast on white and on black.
BLUE, ORANGE, GRAY = "#6d67ee", "#d9661f", "#808080"
MAX_CURVES: Final = 5
MAX_ANNOTATED_CLASSES: Final = 30  # a larger matrix has no space for numbers

_STYLE: Final[Any] = {
    "font.family": "sans-serif",
    "font.size": 9,
    "svg.fonttype": "none",  # keeps text as text
    "svg.hashsalt": "evaluation",
    "text.color": TEXT_COLOR,
    "axes.labelcolor": TEXT_COLOR,
    "axes.edgecolor": TEXT_COLOR,
    "xtick.color": TEXT_COLOR,
    "ytick.color": TEXT_COLOR,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.frameon": False,
}


def to_svg(figure: Figure, text_color: str = TEXT_COLOR) -> str:
    """Return an SVG document without background, with text and axes in `text_color`."""
    file = io.StringIO()
    with mpl.rc_context(_STYLE):
        figure.savefig(file, format="svg", transparent=True, metadata={"Date": None})
    return file.getvalue().replace(TEXT_COLOR, text_color)


def to_png(figure: Figure, dpi: int = 150) -> bytes:
    """Return a PNG with a white background."""
    file = io.BytesIO()
    with mpl.rc_context(_STYLE):
        figure.savefig(file, format="png", dpi=dpi, facecolor="white")
    return file.getvalue()


@mpl.rc_context(_STYLE)
def plot_roc(curves: Sequence[RocCurve], macro_auc: float | None) -> Figure:
    """Plot the mean ROC curve of all classes, and the curves with the smallest areas."""
    figure, axes = _figure()
    grid = np.linspace(0, 1, 401)
    worst = sorted(curves, key=lambda curve: curve.auc)[:MAX_CURVES]
    for rank, curve in enumerate(worst):
        alpha = 0.45 + 0.45 * rank / max(len(worst) - 1, 1)
        label = f"{_shorten(curve.label)} ({curve.auc:.4f})"
        axes.plot(curve.fpr, curve.tpr, color=BLUE, alpha=alpha, linewidth=1, label=label)
    if curves and macro_auc is not None:
        mean = np.mean([np.interp(grid, curve.fpr, curve.tpr) for curve in curves], axis=0)
        label = f"mean ({macro_auc:.4f})"
        axes.plot(grid, mean, color=ORANGE, linewidth=2, label=label)
    axes.plot([0, 1], [0, 1], color=GRAY, linestyle=":", linewidth=1)
    axes.set(xlabel="False positive rate", ylabel="True positive rate")
    _unit_square(axes)
    if curves:
        axes.legend(loc="lower right", title="Class (area under the curve)")
    return figure


@mpl.rc_context(_STYLE)
def plot_reliability(reliability: Reliability) -> Figure:
    """Plot accuracy against confidence; the size of a point is its share of the images.

    Bins with fewer than 10 images are hollow points, which no line joins.
    """
    figure, axes = _figure()
    share = reliability.count / reliability.count.sum()
    axes.plot([0, 1], [0, 1], color=GRAY, linestyle=":", linewidth=1, label="ideal")
    segments = reliability.segments
    for number in sorted({segment for segment in segments if segment is not None}):
        line = np.array([segment == number for segment in segments])
        axes.plot(
            reliability.confidence[line],
            reliability.accuracy[line],
            color=BLUE,
            linewidth=1.5,
            label="_",  # not in the legend
        )
    is_sparse = np.array([segment is None for segment in segments])
    for bins, label, fill in (
        (~is_sparse, "measured", BLUE),
        (is_sparse, f"fewer than {MIN_BIN_IMAGES} images", "none"),
    ):
        if bins.any():
            axes.scatter(
                reliability.confidence[bins],
                reliability.accuracy[bins],
                s=12 + 120 * share[bins],
                facecolors=fill,
                edgecolors=BLUE,
                label=label,
                zorder=3,
            )
    axes.set(xlabel="Confidence", ylabel="Accuracy")
    _unit_square(axes)
    axes.legend(loc="lower right")
    return figure


@mpl.rc_context(_STYLE)
def plot_confusion(matrix: Indices, labels: Sequence[str]) -> Figure:
    """Plot a confusion matrix, shaded by the share of the row; rows are the true classes."""
    side = 4.4 if len(labels) <= 12 else 8.0
    figure, axes = _figure(side, side)
    rows = np.maximum(matrix.sum(1, keepdims=True), 1)
    shares = matrix / rows
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    axes.set(xlabel="Predicted", ylabel="True")
    if len(labels) <= MAX_ANNOTATED_CLASSES:
        ticks = range(len(labels))
        names = [_shorten(label) for label in labels]
        axes.set_xticks(ticks, names, rotation=90 if max(map(len, names)) > 3 else 0)
        axes.set_yticks(ticks, names)
        for (row, column), count in np.ndenumerate(matrix):
            if count:
                color = "white" if shares[row, column] > 0.5 else "black"
                axes.text(column, row, str(count), ha="center", va="center", color=color, size=7)
    return figure


def _figure(width: float = 4.4, height: float = 4.0) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.add_subplot()


def _unit_square(axes: Axes) -> None:
    axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), aspect="equal")


def _shorten(label: str) -> str:
    """Return at most 20 printable characters of a label, with mathtext escaped."""
    text = escape_unprintable(label)
    text = text if len(text) <= 20 else f"{text[:19]}…"
    return text.replace("$", r"\$")
