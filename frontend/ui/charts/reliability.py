"""A reliability diagram: accuracy by confidence."""

from collections.abc import Iterable
from typing import Any

import altair as alt
import pandas as pd

from frontend.ui.formatting import count, percent

HEIGHT = 320  # px
COLOR = "#6366f1"


def reliability_chart(bins: Iterable[tuple[float, float, int, int | None]]) -> alt.LayerChart:
    """Return a chart of (confidence, accuracy, images, line) on [0, 1], with the ideal diagonal.

    Lines join the bins with the same number `line`. Bins with None have too few images: they are
    hollow and not joined.
    """
    columns = ["confidence", "accuracy", "images", "line"]
    frame = pd.DataFrame(list(bins), columns=columns).astype({"line": "Int64"})
    frame["description"] = [
        f"Confidence {percent(confidence)}, accuracy {percent(accuracy)}, "
        + count(images, "image", "images")
        for confidence, accuracy, images in zip(
            frame["confidence"], frame["accuracy"], frame["images"], strict=True
        )
    ]
    is_sparse = frame["line"].isna()
    sparse, joined = frame[is_sparse].drop(columns="line"), frame[~is_sparse]
    axis = alt.Axis(
        format=".0%",
        values=[0, 0.25, 0.5, 0.75, 1],
        labelColor="currentColor",
        titleColor="currentColor",
    )
    scale = alt.Scale(domain=[0, 1], nice=False)
    encodings: dict[str, Any] = {
        "x": alt.X("confidence:Q", title="Confidence", axis=axis, scale=scale),
        "y": alt.Y("accuracy:Q", title="Accuracy", axis=axis, scale=scale),
        "tooltip": [alt.Tooltip("description:N", title="Images")],
        "description": "description:N",
    }
    diagonal = (
        alt.Chart(pd.DataFrame({"confidence": [0, 1], "accuracy": [0, 1]}))
        .mark_line(strokeDash=[4, 4], color="#808080")
        .encode(x="confidence:Q", y="accuracy:Q")
    )
    lines = alt.Chart(joined).mark_line(color=COLOR).encode(detail="line:N", **encodings)
    largest = max(frame["images"], default=1)
    sizes = alt.Scale(domain=[0, largest], range=[40, 400])  # for both kinds of points
    encodings["size"] = alt.Size("images:Q", scale=sizes, legend=None)
    points = alt.Chart(joined).mark_point(color=COLOR, filled=True, opacity=1).encode(**encodings)
    hollow = alt.Chart(sparse).mark_point(color=COLOR, filled=False, opacity=1).encode(**encodings)
    layers = [diagonal]  # without empty layers, which have no accessible name
    layers += [lines, points] if len(joined) else []
    layers += [hollow] if len(sparse) else []
    chart: alt.LayerChart = alt.LayerChart(layer=layers).properties(height=HEIGHT)
    return chart
