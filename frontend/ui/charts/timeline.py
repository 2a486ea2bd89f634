"""A timeline of predictions: a row for each class, a bar for each frame."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import altair as alt
import pandas as pd

from frontend.ui.charts.bars import label_axis
from frontend.ui.formatting import percent

MAX_ROWS: Final = 8  # classes with a row of their own; the others share one
ROW_HEIGHT: Final = 30  # px
AXIS_HEIGHT: Final = 70
OTHERS: Final = "Other"
SELECTION: Final = "frame_selection"
NO_CONFIDENCE_SIZE: Final = 0.3  # bar thickness of a frame without a confidence, in [0, 1]
# Contrast of at least 3:1 against Streamlit's light and dark backgrounds.
COLORS: Final = (
    "#6366f1", "#c2410c", "#0f8a6d", "#b83280", "#2f7fc1", "#9a6700", "#7c4dbd", "#557a2b",
)  # fmt: skip
NO_CLASS: Final = "#7b8290"


@dataclass(frozen=True, slots=True)
class Span:
    """A frame from `start` to `end` (s) with the prediction `name` and its confidence in [0, 1].

    `confidence` is None if the frame failed or is out of distribution.
    """

    start: float
    end: float
    name: str
    confidence: float | None


def timeline_frame(spans: Sequence[Span]) -> pd.DataFrame:
    """Return columns frame, start, end, row, name, confidence, text ("98%") and color.

    The most frequent classes have rows of their own, in the order of their first appearance.
    """
    frequent = {name for name, _ in Counter(span.name for span in spans).most_common(MAX_ROWS)}
    rows = [span.name if span.name in frequent else OTHERS for span in spans]
    pairs = zip(rows, spans, strict=True)
    classes = dict.fromkeys(r for r, span in pairs if span.confidence is not None and r != OTHERS)
    colors = {name: COLORS[number % len(COLORS)] for number, name in enumerate(classes)}
    return pd.DataFrame(
        {
            "frame": range(len(spans)),
            "start": [span.start for span in spans],
            "end": [span.end for span in spans],
            "row": rows,
            "name": [span.name for span in spans],
            "confidence": [
                NO_CONFIDENCE_SIZE if span.confidence is None else span.confidence for span in spans
            ],
            "text": ["" if span.confidence is None else percent(span.confidence) for span in spans],
            "color": [colors.get(row, NO_CLASS) for row in rows],
        }
    )


def timeline_chart(spans: Sequence[Span], selected: float | None = None) -> alt.LayerChart:
    """Return a bar for each frame in the row of its class, whose thickness is the confidence.

    A click on a bar sets `frame` in the selection SELECTION; a line marks the time `selected` (s).
    """
    frame = timeline_frame(spans)
    rows = sorted(dict.fromkeys(frame["row"]), key=lambda row: row == OTHERS)
    length = float(frame["end"].max())
    seconds: dict[str, Any] = {
        "scale": alt.Scale(domain=[0, length], nice=False),
        "axis": alt.Axis(
            labelColor="currentColor", titleColor="currentColor", grid=False, tickMinStep=0.1
        ),
        "title": "Seconds",
    }
    thickness = alt.Scale(domain=[0, 1], range=[3, 24])
    bars = (
        alt.Chart(frame)
        .mark_bar(cursor="pointer")
        .encode(
            x=alt.X("start:Q", **seconds),
            x2="end:Q",
            y=alt.Y(
                "row:N",
                sort=rows,
                title=None,
                scale=alt.Scale(domain=rows),
                axis=label_axis(14, 150, grid=True),
            ),
            size=alt.Size("confidence:Q", scale=thickness, legend=None),
            color=alt.Color("color:N", scale=None),
            tooltip=[
                alt.Tooltip("start:Q", title="Second", format=".2f"),
                alt.Tooltip("name:N", title="Prediction"),
                alt.Tooltip("text:N", title="Confidence"),
            ],
        )
        .add_params(alt.selection_point(name=SELECTION, fields=["frame"], empty=True))
    )
    marker = pd.DataFrame({"time": [] if selected is None else [selected]})
    rule = (
        alt.Chart(marker)
        .mark_rule(strokeWidth=2, strokeDash=[4, 3], color="currentColor")
        .encode(x=alt.X("time:Q", **seconds))
    )
    chart: alt.LayerChart = (bars + rule).properties(height=ROW_HEIGHT * len(rows) + AXIS_HEIGHT)
    return chart
