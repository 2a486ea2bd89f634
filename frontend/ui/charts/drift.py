"""Charts of a statistic by day, with the values that it is compared with."""

from collections.abc import Sequence
from typing import Any

import altair as alt
import pandas as pd

from frontend.ui.charts.bars import INDIGO, ORANGE

HEIGHT = 180  # px
GRAY = "#7b8290"

DayValue = tuple[str, float, float | None, float | None, str]


def day_chart(
    days: Sequence[DayValue],
    axis_format: str,
    reference: float | None,
    calibration: float | None,
) -> alt.LayerChart:
    """Return a line of (day, value, low, high, text), with the intervals of the days.

    The reference is a dashed line, the calibration a dotted one.
    """
    frame = pd.DataFrame(days, columns=["day", "value", "low", "high", "text"])
    base = alt.Chart(frame).encode(
        x=alt.X("day:O", title=None, axis=alt.Axis(labelAngle=-40, labelColor="currentColor"))
    )
    value = alt.Y(
        "value:Q",
        title=None,
        scale=alt.Scale(zero=False, padding=8),
        axis=alt.Axis(format=axis_format, tickCount=5, labelColor="currentColor"),
    )
    layers: list[alt.Chart] = []
    for number, dash in ((reference, [6, 4]), (calibration, [2, 3])):
        if number is not None:
            layers.append(_rule(number, dash))
    if frame["low"].notna().any():
        interval = base.transform_filter("isValid(datum.low)").mark_rule(color=INDIGO, opacity=0.5)
        layers.append(interval.encode(y="low:Q", y2="high:Q"))
    layers.append(base.mark_line(color=INDIGO).encode(y=value))
    layers.append(
        base.mark_point(color=INDIGO, filled=True, opacity=1, size=50).encode(
            y=value,
            tooltip=[alt.Tooltip("day:O", title="Day"), alt.Tooltip("text:N", title="Value")],
        )
    )
    chart: alt.LayerChart = alt.LayerChart(layer=layers).properties(height=HEIGHT)
    return chart


def _rule(value: float, dash: Sequence[int]) -> alt.Chart:
    options: dict[str, Any] = {"strokeDash": list(dash), "strokeWidth": 1.5}
    color = GRAY if dash[0] > 2 else ORANGE
    rule: alt.Chart = (
        alt.Chart(pd.DataFrame({"value": [value]}))
        .mark_rule(color=color, **options)
        .encode(y="value:Q")
    )
    return rule
