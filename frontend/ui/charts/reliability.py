"""How confidence and accuracy agree, from plain data."""

from collections.abc import Iterable

import altair as alt
import pandas as pd

from frontend.ui.formatting import count, percent

SIDE = 320


def reliability_chart(bins: Iterable[tuple[float, float, int]]) -> alt.LayerChart:
    """Draw (confidence, accuracy, pictures) as points on [0, 1]; on the diagonal is honest."""
    frame = pd.DataFrame(
        {
            "confidence": confidence,
            "accuracy": accuracy,
            "pictures": pictures,
            "says": f"Said {percent(confidence)}, right in {percent(accuracy)} of "
            + count(pictures, "picture", "pictures"),
        }
        for confidence, accuracy, pictures in bins
    )
    axis = alt.Axis(
        format=".0%",
        values=[0, 0.25, 0.5, 0.75, 1],
        labelColor="currentColor",
        titleColor="currentColor",
    )
    scale = alt.Scale(domain=[0, 1], nice=False)
    base = alt.Chart(frame).encode(
        x=alt.X("confidence:Q", title="How sure the model was", axis=axis, scale=scale),
        y=alt.Y("accuracy:Q", title="How often it was right", axis=axis, scale=scale),
        tooltip=[alt.Tooltip("says:N", title="Pictures")],
        description="says:N",
    )
    honest = (
        alt.Chart(pd.DataFrame({"confidence": [0, 1], "accuracy": [0, 1]}))
        .mark_line(strokeDash=[4, 4], color="#808080")
        .encode(x="confidence:Q", y="accuracy:Q")
    )
    line = base.mark_line(color="#6366f1")
    points = base.mark_circle(color="#6366f1", opacity=1).encode(
        size=alt.Size("pictures:Q", scale=alt.Scale(range=[40, 400]), legend=None)
    )
    chart: alt.LayerChart = (honest + line + points).properties(height=SIDE)
    return chart
