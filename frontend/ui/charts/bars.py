"""Bar charts of counts and of pairs of probabilities."""

from collections.abc import Sequence
from typing import Any

import altair as alt
import pandas as pd

from frontend.ui.formatting import percent

ROW_HEIGHT = 26  # px for one bar and its margin
AXIS_HEIGHT = 32  # px
TEXT_WIDTH = 120  # px beside the longest bar
MAX_LABEL_LENGTH = 18
INDIGO, ORANGE = "#6366f1", "#d9661f"


def count_chart(rows: Sequence[tuple[str, int, str]]) -> alt.LayerChart:
    """Return a bar for each (label, number, text beside the bar), in the given order."""
    names = unique_names([label for label, _, _ in rows])
    frame = pd.DataFrame(rows, columns=["label", "number", "text"]).assign(label=names)
    longest = max((number for _, number, _ in rows), default=1)
    base = alt.Chart(frame).encode(
        y=alt.Y("label:N", sort=names, title=None, axis=label_axis(14, 120)),
        x=alt.X("number:Q", title=None, axis=None, scale=_scale_with_margin(longest)),
        tooltip=[alt.Tooltip("label:N", title="Class"), alt.Tooltip("text:N", title="Wrong")],
    )
    bars = base.mark_bar(cornerRadiusEnd=3, height={"band": 0.7}, color=ORANGE)
    height = ROW_HEIGHT * len(frame) + 8
    chart: alt.LayerChart = (bars + _text_beside(base)).properties(height=height)
    return chart


def pair_chart(
    rows: Sequence[tuple[str, float, float]], names: tuple[str, str] = ("A", "B")
) -> alt.LayerChart:
    """Return two bars for each (label, first share, second share), named by `names`."""
    labels = unique_names([label for label, _, _ in rows])
    frame = pd.DataFrame(
        {"label": name, "model": model, "number": number, "text": f"{model} {percent(number)}"}
        for name, (_, a, b) in zip(labels, rows, strict=True)
        for model, number in ((names[0], a), (names[1], b))
    )
    base = alt.Chart(frame).encode(
        y=alt.Y("label:N", sort=labels, title=None, axis=label_axis(14, 120)),
        yOffset=alt.YOffset("model:N", sort=list(names)),
        x=alt.X(
            "number:Q",
            title=None,
            scale=alt.Scale(domain=[0, 1.2], nice=False),
            axis=alt.Axis(format=".0%", values=[0, 0.25, 0.5, 0.75, 1], labelColor="currentColor"),
        ),
        tooltip=[alt.Tooltip("label:N", title="Label"), alt.Tooltip("text:N", title="Probability")],
    )
    colors = alt.Scale(domain=list(names), range=[INDIGO, ORANGE])
    color = alt.Color("model:N", scale=colors, legend=None)
    bars = base.mark_bar(cornerRadiusEnd=3).encode(color=color)
    height = 2 * ROW_HEIGHT * len(labels) + AXIS_HEIGHT
    chart: alt.LayerChart = (bars + _text_beside(base)).properties(height=height)
    return chart


def unique_names(labels: Sequence[str]) -> list[str]:
    """Shorten labels to fit a chart, and number duplicates, which would share one row."""
    occurrences: dict[str, int] = {}
    names = []
    for label in map(_shorten, labels):
        occurrences[label] = occurrences.get(label, 0) + 1
        names.append(label if occurrences[label] == 1 else f"{label} ({occurrences[label]})")
    return names


def _shorten(label: str) -> str:
    return label if len(label) <= MAX_LABEL_LENGTH else label[: MAX_LABEL_LENGTH - 1] + "…"


def _scale_with_margin(longest: int) -> alt.Scale:
    """Reserve space for the text beside the longest bar at any width of the chart."""
    end = f"{longest} * width / max(width - {TEXT_WIDTH}, {TEXT_WIDTH} / 3)"
    return alt.Scale(domainMin=0, domainMax=alt.ExprRef(end), nice=False)


def label_axis(size: float | alt.ExprRef, limit: int, **options: Any) -> alt.Axis:
    """Return an axis of labels with this font size and maximum width, both in px."""
    options |= {"labelColor": "currentColor", "labelOverlap": False}
    return alt.Axis(labelFontSize=size, labelLimit=limit, ticks=False, domain=False, **options)


def _text_beside(base: alt.Chart) -> alt.Chart:
    text = base.mark_text(align="left", baseline="middle", dx=5, fontSize=13, color="currentColor")
    chart: alt.Chart = text.encode(text="text:N")
    return chart
