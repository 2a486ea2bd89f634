"""How often answers were right, day by day, from plain data."""

from collections.abc import Mapping

import altair as alt
import pandas as pd

from client import Accuracy
from frontend.ui.formatting import percent

MOST_DAYS = 31
HEIGHT = 220
ROOM_FOR_TEXT = 8  # bars above which a figure fits; further ones tell it when pointed at


def accuracy_frame(days: Mapping[str, Accuracy]) -> pd.DataFrame:
    """Return columns day, accuracy in [0, 1] and shown ("92 % of 12"): the last 31 days."""
    found = sorted(days.items())[-MOST_DAYS:]
    rows = [(day, one.accuracy, one.confirmed + one.corrected) for day, one in found]
    return pd.DataFrame(
        {
            "day": [day for day, _, _ in rows],
            "accuracy": [accuracy for _, accuracy, _ in rows],
            "shown": [f"{percent(accuracy or 0)} of {count}" for _, accuracy, count in rows],
        }
    )


def accuracy_chart(days: Mapping[str, Accuracy]) -> alt.Chart | alt.LayerChart:
    """Draw a bar for each day on [0, 1], with its percentage and how many were looked at."""
    frame = accuracy_frame(days)
    base = alt.Chart(frame).encode(
        x=alt.X("day:O", title=None, axis=alt.Axis(labelAngle=-40, labelColor="currentColor")),
        y=alt.Y(
            "accuracy:Q",
            scale=alt.Scale(domain=[0, 1.12], nice=False),
            title=None,
            axis=alt.Axis(format=".0%", values=[0, 0.5, 1], labelColor="currentColor"),
        ),
        tooltip=[alt.Tooltip("day:O", title="Day"), alt.Tooltip("shown:N", title="Right")],
    )
    bars = base.mark_bar(cornerRadiusEnd=3, color="#6366f1", size=28)
    if len(frame) > ROOM_FOR_TEXT:
        return _sized(bars)
    text = base.mark_text(baseline="bottom", dy=-4, fontSize=12, color="currentColor").encode(
        text="shown:N"
    )
    return _sized(bars + text)


def _sized(chart: alt.Chart | alt.LayerChart) -> alt.Chart | alt.LayerChart:
    sized: alt.Chart | alt.LayerChart = chart.properties(height=HEIGHT)
    return sized
