"""Matrices of true and predicted labels, from plain data.

Each cell brings its own ground and ink, dark enough and light enough for each other in both themes.
"""

from collections.abc import Callable, Sequence
from typing import Final

import altair as alt
import pandas as pd

from frontend.ui.charts.labels import distinct

SELECTION: Final = "cell"
ROW_HEIGHT: Final = 34  # pixels
LEAST_HEIGHT: Final = 20
MOST_HEIGHT: Final = 560
AXES_HEIGHT: Final = 60
LABEL_WIDTH: Final = 110

Rgb = tuple[int, int, int]
RIGHT: Final[tuple[Rgb, Rgb]] = (224, 231, 255), (55, 48, 163)  # from pale to full
WRONG: Final[tuple[Rgb, Rgb]] = (255, 237, 213), (154, 52, 18)
NOTHING: Final = "transparent"
EDGE: Final = "#9ca3af55"

Count = Callable[[str, str], int]


def confusion_frame(labels: Sequence[str], count: Count, *, diagonal: bool = True) -> pd.DataFrame:
    """Return the cells of a confusion matrix: columns true, predicted, row, column, text, says, ….

    Right ones are shaded by their share of the row, wrong ones by their share of the worst cell.
    """
    matrix = [[count(true, predicted) for predicted in labels] for true in labels]
    worst = max((n for i, row in enumerate(matrix) for j, n in enumerate(row) if i != j), default=0)

    def cell(row: int, column: int) -> dict[str, object]:
        number = matrix[row][column]
        says = f"true {labels[row]}, predicted {labels[column]}: {number:,}"
        if not number or (row == column and not diagonal):
            return _cell("", NOTHING, "currentColor", says)
        if row == column:
            return _cell(f"{number:,}", *_colors(RIGHT, number / sum(matrix[row])), says)
        return _cell(f"{number:,}", *_colors(WRONG, 0.1 + 0.9 * number / worst), says)

    return _frame(labels, cell)


def difference_frame(labels: Sequence[str], change: Count) -> pd.DataFrame:
    """Return the cells of B's matrix less A's: what is better with B has one hue, what is worse
    the other, and every number its sign.
    """
    matrix = [[change(true, predicted) for predicted in labels] for true in labels]
    largest = max((abs(number) for row in matrix for number in row), default=0)

    def cell(row: int, column: int) -> dict[str, object]:
        number = matrix[row][column]
        says = f"true {labels[row]}, predicted {labels[column]}: {signed(number)}"
        if not number:
            return _cell("", NOTHING, "currentColor", says)
        better = (number > 0) == (row == column)
        share = 0.1 + 0.9 * abs(number) / largest
        return _cell(signed(number), *_colors(RIGHT if better else WRONG, share), says)

    return _frame(labels, cell)


def matrix_chart(
    frame: pd.DataFrame, selected: tuple[str, str] | None = None, *, selectable: bool = False
) -> alt.LayerChart:
    """Draw the cells; where they can be selected, the selection's name is SELECTION.

    It gives the `row` and `column` of the cell that was clicked.
    """
    names = list(dict.fromkeys(frame["predicted_name"]))
    size = alt.ExprRef(f"max(6, min(13, width / {max(len(names), 1)} / 3))")
    tilt = 0 if max(map(len, names), default=0) <= 2 else -90
    base = alt.Chart(frame).encode(
        x=alt.X(
            "predicted_name:N",
            sort=names,
            title="Predicted",
            axis=_axis(tilt, alt.ExprRef(f"max(6, min(12, width / {len(names)}))")),
            scale=alt.Scale(padding=0.04),
        ),
        y=alt.Y(
            "true_name:N",
            sort=names,
            title="True",
            axis=_axis(0, 12),
            scale=alt.Scale(padding=0.04),
        ),
    )
    grounds = base.mark_rect(aria=False).encode(fill=alt.Fill("ground:N", scale=None))
    text = base.mark_text(aria=False, fontSize=size).encode(
        text="text:N", color=alt.Color("ink:N", scale=None)
    )
    # The clear cells lie on top: a click on a number is a click on its cell.
    cells = base.mark_rect(
        fill="transparent", cursor="pointer" if selectable else "default"
    ).encode(
        tooltip=[
            alt.Tooltip("true:N", title="True"),
            alt.Tooltip("predicted:N", title="Predicted"),
            alt.Tooltip("text:N", title="Pictures"),
        ],
        description="says:N",
        stroke=alt.value(EDGE),
    )
    if selectable:
        point = alt.selection_point(
            name=SELECTION,
            fields=["row", "column"],
            on="click",
            clear=False,
            value=_places(frame, selected) or alt.Undefined,
        )
        cells = cells.encode(
            stroke=alt.condition(point, alt.value("currentColor"), alt.value(EDGE), empty=False),
            strokeWidth=alt.condition(point, alt.value(3), alt.value(1), empty=False),
        ).add_params(point)
    per_row = max(LEAST_HEIGHT, min(ROW_HEIGHT, MOST_HEIGHT // max(len(names), 1)))
    height = per_row * len(names) + AXES_HEIGHT + (LABEL_WIDTH if tilt else 0)
    chart: alt.LayerChart = (grounds + text + cells).properties(height=height)
    return chart


def signed(number: int) -> str:
    """Write a number with its sign."""
    return f"{number:+,}".replace("-", "−") if number else "0"


def _frame(labels: Sequence[str], cell: Callable[[int, int], dict[str, object]]) -> pd.DataFrame:
    names = distinct(labels)
    places = range(len(labels))
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
        for row in places
        for column in places
    )


def _axis(tilt: int, size: int | alt.ExprRef) -> alt.Axis:
    return alt.Axis(
        labelFontSize=size,
        labelAngle=tilt,
        labelColor="currentColor",
        titleColor="currentColor",
        labelLimit=LABEL_WIDTH,
        labelOverlap=False,
        ticks=False,
        domain=False,
        grid=False,
    )


def _places(frame: pd.DataFrame, selected: tuple[str, str] | None) -> list[dict[str, int]]:
    if selected is None:
        return []
    true, predicted = selected
    found = frame[(frame["true"] == true) & (frame["predicted"] == predicted)]
    return [
        {"row": int(row), "column": int(column)}
        for row, column in zip(found["row"], found["column"], strict=True)
    ]


def _cell(text: str, ground: str, ink: str, says: str) -> dict[str, object]:
    return {"text": text, "ground": ground, "ink": ink, "says": says}


def _colors(ramp: tuple[Rgb, Rgb], share: float) -> tuple[str, str]:
    """Return the ground for a share in [0, 1], and black or white, whichever stands out more."""
    ground = [round(a + (b - a) * share) for a, b in zip(*ramp, strict=True)]
    return f"rgb({','.join(map(str, ground))})", "#000" if _luminance(ground) > 0.179 else "#fff"


def _luminance(rgb: Sequence[int]) -> float:
    """Return the relative luminance of WCAG 2, of which 0.179 is as far from black as white."""
    parts = [c / 255 / 12.92 if c <= 10 else ((c / 255 + 0.055) / 1.055) ** 2.4 for c in rgb]
    return sum(part * weight for part, weight in zip(parts, (0.2126, 0.7152, 0.0722), strict=True))
