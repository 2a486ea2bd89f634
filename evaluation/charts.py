"""Charts of plain arrays, as SVG or PNG.

Path("roc.svg").write_text(svg(roc(metrics.curves, metrics.macro_auc)))
Path("confusion.png").write_bytes(png(confusion(metrics.confusion, metrics.labels)))
"""

import io
from collections.abc import Sequence
from typing import Any, Final

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from evaluation.metrics import Indices, Reliability, RocCurve
from evaluation.text import printable

# Colors of lines that stand out from white and from black alike; text and axes have the ink's.
INK: Final = "#1a1a1a"
BLUE, ORANGE, GRAY = "#6d67ee", "#d9661f", "#808080"
DRAWN_CURVES: Final = 5
NAMED_CELLS: Final = 30  # a larger matrix has no room for numbers

_STYLE: Final[Any] = {
    "font.family": "sans-serif",
    "font.size": 9,
    "svg.fonttype": "none",  # text stays text
    "svg.hashsalt": "evaluation",
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.frameon": False,
}


def svg(figure: Figure, ink: str = INK) -> str:
    """The figure as an SVG document without background, its text and axes in the color `ink`."""
    file = io.StringIO()
    with mpl.rc_context(_STYLE):
        figure.savefig(file, format="svg", transparent=True, metadata={"Date": None})
    return file.getvalue().replace(INK, ink)


def png(figure: Figure, dpi: int = 150) -> bytes:
    """The figure as a PNG on white."""
    file = io.BytesIO()
    with mpl.rc_context(_STYLE):
        figure.savefig(file, format="png", dpi=dpi, facecolor="white")
    return file.getvalue()


@mpl.rc_context(_STYLE)
def roc(curves: Sequence[RocCurve], macro_auc: float | None) -> Figure:
    """ROC curves: the mean of all classes, and those with the smallest areas."""
    figure, axes = _figure()
    grid = np.linspace(0, 1, 401)
    worst = sorted(curves, key=lambda curve: curve.auc)[:DRAWN_CURVES]
    for place, curve in enumerate(worst):
        shade = 0.45 + 0.45 * place / max(len(worst) - 1, 1)
        label = f"{_short(curve.label)} ({curve.auc:.4f})"
        axes.plot(curve.fpr, curve.tpr, color=BLUE, alpha=shade, linewidth=1, label=label)
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
def reliability(found: Reliability) -> Figure:
    """Accuracy against confidence, each point as large as its share of the pictures."""
    figure, axes = _figure()
    share = found.count / found.count.sum()
    axes.plot([0, 1], [0, 1], color=GRAY, linestyle=":", linewidth=1, label="as it should be")
    axes.plot(found.confidence, found.accuracy, color=BLUE, linewidth=1.5, label="measured")
    axes.scatter(found.confidence, found.accuracy, s=12 + 120 * share, color=BLUE, zorder=3)
    axes.set(xlabel="Confidence", ylabel="Accuracy")
    _unit_square(axes)
    axes.legend(loc="lower right")
    return figure


@mpl.rc_context(_STYLE)
def confusion(matrix: Indices, labels: Sequence[str]) -> Figure:
    """A confusion matrix, each row shaded by its shares; rows are the truth."""
    side = 4.4 if len(labels) <= 12 else 8.0
    figure, axes = _figure(side, side)
    rows = np.maximum(matrix.sum(1, keepdims=True), 1)
    shares = matrix / rows
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    axes.set(xlabel="Predicted", ylabel="True")
    if len(labels) <= NAMED_CELLS:
        places = range(len(labels))
        names = [_short(label) for label in labels]
        axes.set_xticks(places, names, rotation=90 if max(map(len, names)) > 3 else 0)
        axes.set_yticks(places, names)
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


def _short(label: str) -> str:
    """A label short enough for a chart, with nothing in it that is hidden or means mathematics."""
    text = printable(label)
    text = text if len(text) <= 20 else f"{text[:19]}…"
    return text.replace("$", r"\$")
