"""HTML reports: self-contained pages with embedded charts and thumbnails."""

import base64
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from matplotlib.figure import Figure

from evaluation import charts
from evaluation.compare import Comparison
from evaluation.escaping import escape_unprintable
from evaluation.intervals import Interval
from evaluation.metrics import MIN_BIN_IMAGES, Indices, Metrics, restrict_confusion_matrix
from evaluation.results import MAX_LISTED_FAILURES, Evaluation

MAX_MATRIX_CLASSES: Final = 30  # with more classes the largest cells are listed instead
MAX_LISTED: Final = 30
_DARK_TEXT_COLOR: Final = "#e5e7eb"


@dataclass(frozen=True, slots=True)
class Cell:
    """A cell of a matrix: text, CSS class (`right`, `wrong` or none), and shade in [0, 1]."""

    text: str
    kind: str = ""
    shade: float = 0.0


@dataclass(frozen=True, slots=True)
class MatrixTable:
    """A matrix for display; each row has its label and its cells."""

    labels: tuple[str, ...]
    rows: tuple[tuple[str, tuple[Cell, ...]], ...]


def render_report(evaluation: Evaluation) -> str:
    """Return the page of an evaluation."""
    failures = evaluation.failures
    context: dict[str, Any] = {
        "evaluation": evaluation,
        "failures": failures,
        "listed_failures": failures[:MAX_LISTED_FAILURES],
    }
    if labels := evaluation.label_metrics:
        occurring = [one for one in labels.classes if one.support or one.precision is not None]
        lowest = sorted(occurring, key=lambda one: (one.f1 or 0.0, one.label))
        context["labels"] = occurring if len(occurring) <= MAX_LISTED else lowest[:MAX_LISTED]
        context["label_count"] = len(occurring)
    if evaluation.metrics:
        context |= _metrics_context(evaluation.metrics)
    return _environment().get_template("report.html").render(context)


def render_comparison(comparison: Comparison) -> str:
    """Return the page of a comparison."""
    matrix, labels = restrict_confusion_matrix(comparison.difference, comparison.labels)
    is_small = 0 < len(labels) <= MAX_MATRIX_CLASSES
    template = _environment().get_template("compare.html")
    return template.render(
        comparison=comparison,
        matrix=_difference_table(matrix, labels) if is_small else None,
        changes=() if is_small else _largest_cells(matrix, labels),
    )


def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("evaluation"),
        autoescape=True,
        finalize=_escape_text,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    filters: dict[str, Callable[..., str]] = {
        "share": _format_share,
        "count": lambda number: f"{number:,}",
        "images": lambda number: f"{number:,} {'image' if number == 1 else 'images'}",
        "interval": _format_interval,
        "points": _format_points,
    }
    environment.filters |= filters
    return environment


def _escape_text(value: object) -> object:
    if isinstance(value, str) and not isinstance(value, Markup):
        return escape_unprintable(value)
    return value


def _metrics_context(metrics: Metrics) -> dict[str, Any]:
    classes = [one for one in metrics.classes if one.support or one.precision is not None]
    if len(classes) > MAX_LISTED:
        present = [one for one in classes if one.support]
        classes = sorted(present, key=lambda one: one.f1 or 0.0)[:MAX_LISTED]
    bins = metrics.reliability
    confusion, labels = restrict_confusion_matrix(metrics.confusion, metrics.labels)
    is_small = len(labels) <= MAX_MATRIX_CLASSES
    mistakes = confusion - np.diag(np.diag(confusion))
    worst = min(metrics.curves, key=lambda curve: curve.auc, default=None)
    return {
        "classes": classes,
        "listed": sum(one.support > 0 for one in classes),
        "present": sum(one.support > 0 for one in metrics.classes),
        "areas": {curve.label: curve.auc for curve in metrics.curves},
        "bins": list(zip(bins.confidence, bins.accuracy, bins.count.tolist(), strict=True)),
        "matrix": _confusion_table(confusion, labels) if is_small else None,
        "confusions": () if is_small else _largest_cells(mistakes, labels),
        "roc": _chart_uris(charts.plot_roc(metrics.curves, metrics.macro_auc)),
        "roc_alt": ""
        if worst is None
        else f"ROC curves. The mean area under the curve is {metrics.macro_auc:.4f}, the smallest "
        f"is {worst.auc:.4f} for class {worst.label}.",
        "reliability": _chart_uris(charts.plot_reliability(bins)),
        "min_bin_images": MIN_BIN_IMAGES,
        "reliability_alt": "Accuracy against confidence. The mean difference is "
        f"{_format_share(bins.ece)}; the values are in the table below.",
    }


def _confusion_table(matrix: Indices, labels: Sequence[str]) -> MatrixTable:
    shares = matrix / np.maximum(matrix.sum(1, keepdims=True), 1)

    def cell(row: int, column: int) -> Cell:
        count, share = int(matrix[row, column]), float(shares[row, column])
        if not count:
            return Cell("0")
        # A minimum shade keeps a few mistakes among many images visible.
        shade = share if row == column else 0.2 + 0.8 * share**0.5
        return Cell(f"{count:,}", "right" if row == column else "wrong", round(shade, 3))

    return _create_table(labels, cell)


def _difference_table(matrix: Indices, labels: Sequence[str]) -> MatrixTable:
    largest = max(int(np.abs(matrix).max()), 1)

    def cell(row: int, column: int) -> Cell:
        change = int(matrix[row, column])
        if not change:
            return Cell("0")
        is_better = (change > 0) == (row == column)
        shade = round(0.2 + 0.8 * (abs(change) / largest) ** 0.5, 3)
        return Cell(f"{change:+,}".replace("-", "−"), "right" if is_better else "wrong", shade)

    return _create_table(labels, cell)


def _create_table(labels: Sequence[str], cell: Callable[[int, int], Cell]) -> MatrixTable:
    columns = range(len(labels))
    rows = ((label, tuple(cell(row, c) for c in columns)) for row, label in enumerate(labels))
    return MatrixTable(tuple(labels), tuple(rows))


def _largest_cells(matrix: Indices, labels: Sequence[str]) -> list[dict[str, object]]:
    """Return the cells with the largest absolute values, with true and predicted label."""
    order = np.argsort(-np.abs(matrix), axis=None, kind="stable")[:MAX_LISTED]
    rows, columns = np.unravel_index(order, matrix.shape)
    return [
        {"truth": labels[row], "predicted": labels[column], "count": int(matrix[row, column])}
        for row, column in zip(rows, columns, strict=True)
        if matrix[row, column]
    ]


def _chart_uris(figure: Figure) -> dict[str, str]:
    """Return a chart as data URIs for the light and the dark color scheme."""
    charts_by_scheme = {
        "light": charts.to_svg(figure),
        "dark": charts.to_svg(figure, text_color=_DARK_TEXT_COLOR),
    }
    return {
        scheme: "data:image/svg+xml;base64," + base64.b64encode(svg.encode()).decode()
        for scheme, svg in charts_by_scheme.items()
    }


def _format_share(value: float | None) -> str:
    return "–" if value is None else f"{value:.2%}"


def _format_interval(interval: Interval | None) -> str:
    return "–" if interval is None else f"{interval.low:.2%} to {interval.high:.2%}"


def _format_points(value: float) -> str:
    return f"{100 * value:+.2f}".replace("-", "−")
