"""Reports as one HTML page that opens alone: charts and pictures are within it."""

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from matplotlib.figure import Figure

from evaluation import charts
from evaluation.compare import Comparison
from evaluation.document import NAMED_FAILURES
from evaluation.metrics import Indices, Metrics
from evaluation.results import Evaluation
from evaluation.text import printable

GRID: Final = 30  # classes; of more there is a list of the most frequent confusions
LISTED: Final = 30
_DARK_INK: Final = "#e5e7eb"


@dataclass(frozen=True, slots=True)
class Cell:
    """A field of a matrix: its text, `right`, `wrong` or nothing, and how much it is shaded."""

    text: str
    kind: str = ""
    shade: float = 0.0


@dataclass(frozen=True, slots=True)
class Row:
    """A line of a matrix."""

    label: str
    cells: tuple[Cell, ...]


@dataclass(frozen=True, slots=True)
class Grid:
    """A matrix as it is shown."""

    labels: tuple[str, ...]
    rows: tuple[Row, ...]


def render(evaluation: Evaluation) -> str:
    """The report of one evaluation."""
    failures = evaluation.failures
    shown = {"evaluation": evaluation, "failures": failures, "named": failures[:NAMED_FAILURES]}
    if evaluation.metrics:
        shown |= _measured(evaluation.metrics)
    return _environment().get_template("report.html").render(shown)


def render_comparison(comparison: Comparison) -> str:
    """The report of a comparison."""
    matrix, labels = comparison.difference, comparison.labels
    small = len(labels) <= GRID
    return (
        _environment()
        .get_template("compare.html")
        .render(
            comparison=comparison,
            grid=_difference_grid(matrix, labels) if small else None,
            changes=() if small else _largest(matrix, labels),
        )
    )


def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("evaluation"),
        autoescape=True,
        finalize=_shown,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"share": _share, "count": lambda number: f"{number:,}"}
    return environment


def _shown(value: object) -> object:
    if isinstance(value, str) and not isinstance(value, Markup):
        return printable(value)
    return value


def _measured(metrics: Metrics) -> dict[str, Any]:
    known = [one for one in metrics.classes if one.support or one.precision is not None]
    if len(known) > LISTED:
        present = [one for one in known if one.support]
        known = sorted(present, key=lambda one: one.f1 or 0.0)[:LISTED]
    areas = {curve.label: curve.auc for curve in metrics.curves}
    found = metrics.reliability
    small = len(metrics.labels) <= GRID
    wrong = metrics.confusion - np.diag(np.diag(metrics.confusion))
    worst = min(metrics.curves, key=lambda curve: curve.auc, default=None)
    return {
        "classes": known,
        "listed": sum(one.support > 0 for one in known),
        "present": sum(one.support > 0 for one in metrics.classes),
        "areas": areas,
        "bins": list(zip(found.confidence, found.accuracy, found.count.tolist(), strict=True)),
        "grid": _grid(metrics.confusion, metrics.labels) if small else None,
        "confusions": () if small else _largest(wrong, metrics.labels),
        "roc": _drawn(charts.roc(metrics.curves, metrics.macro_auc)),
        "roc_alt": ""
        if worst is None
        else f"ROC curves. The mean area under them is {metrics.macro_auc:.4f}, the smallest "
        f"{worst.auc:.4f}, of the class {worst.label}.",
        "reliability": _drawn(charts.reliability(found)),
        "reliability_alt": "Accuracy against confidence. On average they are "
        f"{_share(found.ece)} apart; the table below has the points.",
    }


def _grid(matrix: Indices, labels: Sequence[str]) -> Grid:
    shares = matrix / np.maximum(matrix.sum(1, keepdims=True), 1)

    def cell(row: int, column: int) -> Cell:
        count, share = int(matrix[row, column]), float(shares[row, column])
        if not count:
            return Cell("0")
        # A few mistakes among many pictures have to be seen too.
        shade = share if row == column else 0.2 + 0.8 * share**0.5
        return Cell(f"{count:,}", "right" if row == column else "wrong", round(shade, 3))

    return _rows(labels, cell)


def _difference_grid(matrix: Indices, labels: Sequence[str]) -> Grid:
    largest = max(int(np.abs(matrix).max()), 1)

    def cell(row: int, column: int) -> Cell:
        change = int(matrix[row, column])
        if not change:
            return Cell("0")
        better = (change > 0) == (row == column)
        shade = round(0.2 + 0.8 * (abs(change) / largest) ** 0.5, 3)
        return Cell(f"{change:+,}".replace("-", "−"), "right" if better else "wrong", shade)

    return _rows(labels, cell)


def _rows(labels: Sequence[str], cell: Any) -> Grid:
    places = range(len(labels))
    rows = (Row(label, tuple(cell(row, c) for c in places)) for row, label in enumerate(labels))
    return Grid(tuple(labels), tuple(rows))


def _largest(matrix: Indices, labels: Sequence[str]) -> list[dict[str, object]]:
    """The fields of a matrix that are largest or smallest, as true and predicted label."""
    order = np.argsort(-np.abs(matrix), axis=None, kind="stable")[:LISTED]
    rows, columns = np.unravel_index(order, matrix.shape)
    return [
        {"truth": labels[row], "predicted": labels[column], "count": int(matrix[row, column])}
        for row, column in zip(rows, columns, strict=True)
        if matrix[row, column]
    ]


def _drawn(figure: Figure) -> dict[str, str]:
    """A chart as data URIs, for light pages and for dark ones."""
    return {
        "light": _uri(charts.svg(figure)),
        "dark": _uri(charts.svg(figure, ink=_DARK_INK)),
    }


def _uri(svg: str) -> str:
    return "data:image/svg+xml;base64," + base64.b64encode(svg.encode()).decode()


def _share(value: float | None) -> str:
    return "–" if value is None else f"{value:.2%}".replace("%", "\N{NO-BREAK SPACE}%")
