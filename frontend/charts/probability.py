"""The likeliest labels as bars, from plain data."""

from collections.abc import Iterable

import altair as alt
import pandas as pd

from frontend.charts.labels import distinct
from frontend.words import percent

ROW_HEIGHT = 26  # pixels for one bar and the space around it
AXIS_HEIGHT = 32


def probability_frame(guesses: Iterable[tuple[str, float]]) -> pd.DataFrame:
    """Return columns label, probability in [0, 1] and shown ("98 %"), the likeliest first.

    Labels are shortened to fit, and kept apart where that makes two of them alike.
    """
    rows = sorted(guesses, key=lambda guess: guess[1], reverse=True)
    return pd.DataFrame(
        {
            "label": distinct([label for label, _ in rows]),
            "probability": [probability for _, probability in rows],
            "shown": [percent(probability) for _, probability in rows],
        }
    )


def probability_chart(guesses: Iterable[tuple[str, float]]) -> alt.LayerChart:
    """Draw horizontal bars on [0, 1], the likeliest on top, each with its percentage."""
    frame = probability_frame(guesses)
    base = alt.Chart(frame).encode(
        y=alt.Y(
            "label:N",
            sort=list(frame["label"]),
            title=None,
            axis=alt.Axis(
                labelFontSize=14,
                labelColor="currentColor",
                labelLimit=150,
                labelOverlap=False,
                ticks=False,
                domain=False,
            ),
        ),
        x=alt.X(
            "probability:Q",
            scale=alt.Scale(domain=[0, 1], nice=False),
            title=None,
            axis=alt.Axis(
                format=".0%", values=[0, 0.25, 0.5, 0.75, 1], grid=True, labelColor="currentColor"
            ),
        ),
        tooltip=[
            alt.Tooltip("label:N", title="Label"),
            alt.Tooltip("shown:N", title="Probability"),
        ],
    )
    bars = base.mark_bar(cornerRadiusEnd=3, height={"band": 0.7}, color="#6366f1")
    text = base.mark_text(
        align="left", baseline="middle", dx=5, fontSize=13, color="currentColor"
    ).encode(text="shown:N")
    chart: alt.LayerChart = (bars + text).properties(height=ROW_HEIGHT * len(frame) + AXIS_HEIGHT)
    return chart
