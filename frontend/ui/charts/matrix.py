"""Matrices of true and predicted labels.

Each cell has its own fill and text color, with enough contrast in both themes.
"""

from collections.abc import Callable, Sequence
from typing import Any, Final

import altair as alt
import pandas as pd

from frontend.ui.charts.bars import label_axis, unique_names

SELECTION: Final = "cell"
ROW_HEIGHT: Final = 34  # pixels
MIN_ROW_HEIGHT: Final = 20
MAX_HEIGHT: Final = 560
AXES_HEIGHT: Final = 60
LABEL_WIDTH: Final = 110

Rgb = tuple[int, int, int]
RIGHT: Final[tuple[Rgb, Rgb]] = (224, 231, 255), (55, 48, 163)  # (lightest, darkest)
WRONG: Final[tuple[Rgb, Rgb]] = (255, 237, 213), (154, 52, 18)
NO_FILL: Final = "transparent"
BORDER: Final = "#9ca3af55"

Count = Callable[[str, str], int]


def confusion_frame(labels: Sequence[str], count: Count, *, diagonal: bool = True) -> pd.DataFrame:
    """Return the cells of a confusion matrix: columns true, predicted, row, column, text, ….

    Correct cells are shaded by their share of the row, wrong cells by their share of the largest
    wrong cell. Without `diagonal` the correct cells are empty.
    """
    matrix = [[count(true, predicted) for predicted in labels] for true in labels]
    wrong = [n for i, row in enumerate(matrix) for j, n in enumerate(row) if i != j]
    largest_wrong = max(wrong, default=0)

    def cell(row: int, column: int) -> dict[str, object]:
        number = matrix[row][column]
        description = f"true {labels[row]}, predicted {labels[column]}: {number:,}"
        if not number or (row == column and not diagonal):
            return _cell("", NO_FILL, "currentColor", description)
        if row == column:
            return _cell(f"{number:,}", *_colors(RIGHT, number / sum(matrix[row])), description)
        share = 0.1 + 0.9 * number / largest_wrong
        return _cell(f"{number:,}", *_colors(WRONG, share), description)

    return _frame(labels, cell)


def difference_frame(labels: Sequence[str], change: Count) -> pd.DataFrame:
    """Return the cells of B's matrix minus A's, with signed numbers.

    Improvements and regressions of B have different hues.
    """
    matrix = [[change(true, predicted) for predicted in labels] for true in labels]
    largest = max((abs(number) for row in matrix for number in row), default=0)

    def cell(row: int, column: int) -> dict[str, object]:
        number = matrix[row][column]
        description = f"true {labels[row]}, predicted {labels[column]}: {signed(number)}"
        if not number:
            return _cell("", NO_FILL, "currentColor", description)
        is_better = (number > 0) == (row == column)
        share = 0.1 + 0.9 * abs(number) / largest
        return _cell(signed(number), *_colors(RIGHT if is_better else WRONG, share), description)

    return _frame(labels, cell)


def matrix_chart(
    frame: pd.DataFrame, selected: tuple[str, str] | None = None, *, selectable: bool = False
) -> alt.LayerChart:
    """Return the chart of a matrix.

    If it is selectable, the selection SELECTION has the `row` and `column` of the clicked cell.
    """
    names = list(dict.fromkeys(frame["predicted_name"]))
    size = alt.ExprRef(f"max(6, min(13, width / {max(len(names), 1)} / 3))")
    angle = 0 if max(map(len, names), default=0) <= 2 else -90
    label_size = alt.ExprRef(f"max(6, min(12, width / {len(names)}))")
    common: dict[str, Any] = {"sort": names, "scale": alt.Scale(padding=0.04)}
    base = alt.Chart(frame).encode(
        x=alt.X("predicted_name:N", title="Predicted", axis=_axis(angle, label_size), **common),
        y=alt.Y("true_name:N", title="True", axis=_axis(0, 12), **common),
    )
    fills = base.mark_rect(aria=False).encode(fill=alt.Fill("fill:N", scale=None))
    text_color = alt.Color("text_color:N", scale=None)
    text = base.mark_text(aria=False, fontSize=size).encode(text="text:N", color=text_color)
    # The transparent cells are on top, so that a click on a number selects its cell.
    cells = base.mark_rect(
        fill="transparent", cursor="pointer" if selectable else "default"
    ).encode(
        tooltip=[
            alt.Tooltip("true:N", title="True"),
            alt.Tooltip("predicted:N", title="Predicted"),
            alt.Tooltip("text:N", title="Images"),
        ],
        description="description:N",
        stroke=alt.value(BORDER),
    )
    if selectable:
        point = alt.selection_point(
            name=SELECTION,
            fields=["row", "column"],
            on="click",
            clear=False,
            value=_cell_positions(frame, selected) or alt.Undefined,
        )
        cells = cells.encode(
            stroke=alt.condition(point, alt.value("currentColor"), alt.value(BORDER), empty=False),
            strokeWidth=alt.condition(point, alt.value(3), alt.value(1), empty=False),
        ).add_params(point)
    per_row = max(MIN_ROW_HEIGHT, min(ROW_HEIGHT, MAX_HEIGHT // max(len(names), 1)))
    height = per_row * len(names) + AXES_HEIGHT + (LABEL_WIDTH if angle else 0)
    chart: alt.LayerChart = (fills + text + cells).properties(height=height)
    return chart


def signed(number: int) -> str:
    """Format a number with its sign."""
    return f"{number:+,}".replace("-", "−") if number else "0"


def _frame(labels: Sequence[str], cell: Callable[[int, int], dict[str, object]]) -> pd.DataFrame:
    names, indices = unique_names(labels), range(len(labels))
    return pd.DataFrame(
        {
            "row": row,
            "column": column,
            "true": labels[row],
            "predicted": labels[column],
            "true_name": names[row],
            "predicted_name": names[column],
            **cell(row, column),
        }
        for row in indices
        for column in indices
    )


def _axis(angle: int, size: int | alt.ExprRef) -> alt.Axis:
    options: dict[str, Any] = {"titleColor": "currentColor", "grid": False}
    return label_axis(size, LABEL_WIDTH, labelAngle=angle, **options)


def _cell_positions(frame: pd.DataFrame, selected: tuple[str, str] | None) -> list[dict[str, int]]:
    if selected is None:
        return []
    true, predicted = selected
    matches = frame[(frame["true"] == true) & (frame["predicted"] == predicted)]
    positions = zip(matches["row"], matches["column"], strict=True)
    return [{"row": int(row), "column": int(column)} for row, column in positions]


def _cell(text: str, fill: str, text_color: str, description: str) -> dict[str, object]:
    return {"text": text, "fill": fill, "text_color": text_color, "description": description}


def _colors(ramp: tuple[Rgb, Rgb], share: float) -> tuple[str, str]:
    """Return the fill for a share in [0, 1], and black or white for the highest contrast."""
    fill = [round(a + (b - a) * share) for a, b in zip(*ramp, strict=True)]
    return f"rgb({','.join(map(str, fill))})", "#000" if _luminance(fill) > 0.179 else "#fff"


def _luminance(rgb: Sequence[int]) -> float:
    """Return the WCAG 2 relative luminance; 0.179 has equal contrast to black and to white."""
    parts = [c / 255 / 12.92 if c <= 10 else ((c / 255 + 0.055) / 1.055) ** 2.4 for c in rgb]
    return sum(part * weight for part, weight in zip(parts, (0.2126, 0.7152, 0.0722), strict=True))
