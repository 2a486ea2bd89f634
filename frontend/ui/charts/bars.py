"""Counts and pairs of probabilities as bars, from plain data."""

from collections.abc import Sequence

import altair as alt
import pandas as pd

from frontend.ui.charts.labels import distinct
from frontend.ui.formatting import percent

ROW_HEIGHT = 26  # pixels for one bar and the space around it
AXIS_HEIGHT = 32
WORDS_WIDTH = 120
INDIGO, ORANGE = "#6366f1", "#d9661f"


def count_chart(rows: Sequence[tuple[str, int, str]]) -> alt.LayerChart:
    """Draw (label, number, text beside the bar), in the order given."""
    names = distinct([label for label, _, _ in rows])
    frame = pd.DataFrame(
        {
            "label": names,
            "number": [number for _, number, _ in rows],
            "shown": [shown for _, _, shown in rows],
        }
    )
    most = max((number for _, number, _ in rows), default=1)
    base = alt.Chart(frame).encode(
        y=alt.Y("label:N", sort=names, title=None, axis=_labels()),
        x=alt.X("number:Q", title=None, axis=None, scale=_room(most)),
        tooltip=[alt.Tooltip("label:N", title="Class"), alt.Tooltip("shown:N", title="Wrong")],
    )
    bars = base.mark_bar(cornerRadiusEnd=3, height={"band": 0.7}, color=ORANGE)
    chart: alt.LayerChart = (bars + _beside(base)).properties(height=ROW_HEIGHT * len(frame) + 8)
    return chart


def pair_chart(rows: Sequence[tuple[str, float, float]]) -> alt.LayerChart:
    """Draw (label, probability by A, probability by B): two bars, each named at its end."""
    names = distinct([label for label, _, _ in rows])
    frame = pd.DataFrame(
        {
            "label": name,
            "model": model,
            "number": number,
            "shown": f"{model} {percent(number)}",
        }
        for name, (_, a, b) in zip(names, rows, strict=True)
        for model, number in (("A", a), ("B", b))
    )
    base = alt.Chart(frame).encode(
        y=alt.Y("label:N", sort=names, title=None, axis=_labels()),
        yOffset=alt.YOffset("model:N", sort=["A", "B"]),
        x=alt.X(
            "number:Q",
            title=None,
            scale=alt.Scale(domain=[0, 1.2], nice=False),
            axis=alt.Axis(format=".0%", values=[0, 0.25, 0.5, 0.75, 1], labelColor="currentColor"),
        ),
        tooltip=[
            alt.Tooltip("label:N", title="Label"),
            alt.Tooltip("shown:N", title="Probability"),
        ],
    )
    bars = base.mark_bar(cornerRadiusEnd=3).encode(
        color=alt.Color(
            "model:N", scale=alt.Scale(domain=["A", "B"], range=[INDIGO, ORANGE]), legend=None
        )
    )
    height = 2 * ROW_HEIGHT * len(names) + AXIS_HEIGHT
    chart: alt.LayerChart = (bars + _beside(base)).properties(height=height)
    return chart


def _room(most: int) -> alt.Scale:
    """Leave room for the words beside the longest bar, however narrow the chart is."""
    end = f"{most} * width / max(width - {WORDS_WIDTH}, {WORDS_WIDTH} / 3)"
    return alt.Scale(domainMin=0, domainMax=alt.ExprRef(end), nice=False)


def _labels() -> alt.Axis:
    return alt.Axis(
        labelFontSize=14,
        labelColor="currentColor",
        labelLimit=120,
        labelOverlap=False,
        ticks=False,
        domain=False,
    )


def _beside(base: alt.Chart) -> alt.Chart:
    text: alt.Chart = base.mark_text(
        align="left", baseline="middle", dx=5, fontSize=13, color="currentColor"
    ).encode(text="shown:N")
    return text
