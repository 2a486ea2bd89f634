"""A reliability diagram: accuracy by confidence."""

from collections.abc import Iterable

import altair as alt
import pandas as pd

from frontend.ui.formatting import count, percent

HEIGHT = 320  # px


def reliability_chart(bins: Iterable[tuple[float, float, int]]) -> alt.LayerChart:
    """Return a chart of (confidence, accuracy, images) on [0, 1], with the ideal diagonal."""
    frame = pd.DataFrame(
        {
            "confidence": confidence,
            "accuracy": accuracy,
            "images": images,
            "description": f"Confidence {percent(confidence)}, accuracy {percent(accuracy)}, "
            + count(images, "image", "images"),
        }
        for confidence, accuracy, images in bins
    )
    axis = alt.Axis(
        format=".0%",
        values=[0, 0.25, 0.5, 0.75, 1],
        labelColor="currentColor",
        titleColor="currentColor",
    )
    scale = alt.Scale(domain=[0, 1], nice=False)
    base = alt.Chart(frame).encode(
        x=alt.X("confidence:Q", title="Confidence", axis=axis, scale=scale),
        y=alt.Y("accuracy:Q", title="Accuracy", axis=axis, scale=scale),
        tooltip=[alt.Tooltip("description:N", title="Images")],
        description="description:N",
    )
    diagonal = (
        alt.Chart(pd.DataFrame({"confidence": [0, 1], "accuracy": [0, 1]}))
        .mark_line(strokeDash=[4, 4], color="#808080")
        .encode(x="confidence:Q", y="accuracy:Q")
    )
    line = base.mark_line(color="#6366f1")
    size = alt.Size("images:Q", scale=alt.Scale(range=[40, 400]), legend=None)
    points = base.mark_circle(color="#6366f1", opacity=1).encode(size=size)
    chart: alt.LayerChart = (diagonal + line + points).properties(height=HEIGHT)
    return chart
