"""What was seen when, from plain data: a row for each class, a bar for each frame."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import altair as alt
import pandas as pd

from frontend.ui.formatting import percent

ROWS: Final = 8  # classes that have a row; the others share one
ROW_HEIGHT: Final = 30  # pixels
AXIS_HEIGHT: Final = 70
OTHERS: Final = "Others"
PICK: Final = "pick"  # the name of the selection
UNSURE: Final = 0.3  # as thick as this is what has no confidence
# Bars of 3 to 1 against white and against Streamlit's dark; classes are told apart by their row.
COLORS: Final = (
    "#6366f1", "#c2410c", "#0f8a6d", "#b83280", "#2f7fc1", "#9a6700", "#7c4dbd", "#557a2b",
)  # fmt: skip
NO_CLASS: Final = "#7b8290"


@dataclass(frozen=True, slots=True)
class Span:
    """A frame: seen from `start` to `end` (s), taken for `name` with `confidence` in [0, 1].

    There is no confidence in what is no class: not read, or not like anything the model knows.
    """

    start: float
    end: float
    name: str
    confidence: float | None


def timeline_frame(spans: Sequence[Span]) -> pd.DataFrame:
    """Return columns frame, start, end, row, name, confidence, shown ("98 %") and color.

    The most frequent classes have rows of their own, in the order in which they first appear.
    """
    frequent = {name for name, _ in Counter(span.name for span in spans).most_common(ROWS)}
    rows = [span.name if span.name in frequent else OTHERS for span in spans]
    classes = dict.fromkeys(
        row for row, span in zip(rows, spans, strict=True) if _is_class(span) and row != OTHERS
    )
    colors = {name: COLORS[number % len(COLORS)] for number, name in enumerate(classes)}
    return pd.DataFrame(
        {
            "frame": range(len(spans)),
            "start": [span.start for span in spans],
            "end": [span.end for span in spans],
            "row": rows,
            "name": [span.name for span in spans],
            "confidence": [
                UNSURE if span.confidence is None else span.confidence for span in spans
            ],
            "shown": [
                "" if span.confidence is None else percent(span.confidence) for span in spans
            ],
            "color": [colors.get(row, NO_CLASS) for row in rows],
        }
    )


def timeline_chart(spans: Sequence[Span], picked: float | None = None) -> alt.LayerChart:
    """Draw a bar for each frame in the row of its class: the thicker, the surer.

    A click on a bar is the selection PICK of its field `frame`; a line stands at `picked` (s).
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
                axis=alt.Axis(
                    labelFontSize=14,
                    labelColor="currentColor",
                    labelLimit=150,
                    labelOverlap=False,
                    ticks=False,
                    domain=False,
                    grid=True,
                ),
            ),
            size=alt.Size(
                "confidence:Q", scale=alt.Scale(domain=[0, 1], range=[3, 24]), legend=None
            ),
            color=alt.Color("color:N", scale=None),
            tooltip=[
                alt.Tooltip("start:Q", title="Second", format=".2f"),
                alt.Tooltip("name:N", title="Answer"),
                alt.Tooltip("shown:N", title="Confidence"),
            ],
        )
        .add_params(alt.selection_point(name=PICK, fields=["frame"], empty=True))
    )
    at = pd.DataFrame({"at": [] if picked is None else [picked]})
    rule = (
        alt.Chart(at)
        .mark_rule(strokeWidth=2, strokeDash=[4, 3], color="currentColor")
        .encode(x=alt.X("at:Q", **seconds))
    )
    chart: alt.LayerChart = (bars + rule).properties(height=ROW_HEIGHT * len(rows) + AXIS_HEIGHT)
    return chart


def _is_class(span: Span) -> bool:
    return span.confidence is not None
