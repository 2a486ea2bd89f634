"""A bar chart of the accuracy per day."""

from collections.abc import Mapping

import altair as alt
import pandas as pd

from client import Accuracy
from frontend.ui.formatting import percent

MAX_DAYS = 31
HEIGHT = 220  # px
MAX_LABELED_BARS = 8  # with more bars, the figures appear in the tooltips only


def accuracy_frame(days: Mapping[str, Accuracy]) -> pd.DataFrame:
    """Return the last 31 days: columns day, accuracy in [0, 1] and text ("92% of 12")."""
    latest = sorted(days.items())[-MAX_DAYS:]
    rows = (
        (day, one.accuracy, f"{percent(one.accuracy or 0)} of {one.confirmed + one.corrected}")
        for day, one in latest
    )
    return pd.DataFrame(rows, columns=["day", "accuracy", "text"])


def accuracy_chart(days: Mapping[str, Accuracy]) -> alt.Chart | alt.LayerChart:
    """Return a chart with one bar per day on [0, 1], with its accuracy and number of images."""
    frame = accuracy_frame(days)
    base = alt.Chart(frame).encode(
        x=alt.X("day:O", title=None, axis=alt.Axis(labelAngle=-40, labelColor="currentColor")),
        y=alt.Y(
            "accuracy:Q",
            scale=alt.Scale(domain=[0, 1.12], nice=False),
            title=None,
            axis=alt.Axis(format=".0%", values=[0, 0.5, 1], labelColor="currentColor"),
        ),
        tooltip=[alt.Tooltip("day:O", title="Day"), alt.Tooltip("text:N", title="Correct")],
    )
    bars = base.mark_bar(cornerRadiusEnd=3, color="#6366f1", size=28)
    if len(frame) > MAX_LABELED_BARS:
        return _set_height(bars)
    text = base.mark_text(baseline="bottom", dy=-4, fontSize=12, color="currentColor")
    return _set_height(bars + text.encode(text="text:N"))


def _set_height(chart: alt.Chart | alt.LayerChart) -> alt.Chart | alt.LayerChart:
    sized: alt.Chart | alt.LayerChart = chart.properties(height=HEIGHT)
    return sized
