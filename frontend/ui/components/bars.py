"""The most probable labels as bars with percentages, accessible to screen readers.

A Vega chart costs the server 20 ms and the browser far more, at every stroke of a drawing.
"""

from collections.abc import Sequence
from pathlib import Path

import streamlit as st

from client import ClassScore
from frontend.ui.formatting import percent

FOLDER = Path(__file__).parent

_bars = st.components.v2.component(
    "bars",
    html='<ol role="list"></ol>',
    css=(FOLDER / "bars.css").read_text("utf-8"),
    js=(FOLDER / "bars.js").read_text("utf-8"),
)


def show(title: str, scores: Sequence[ClassScore], *, key: str | None = None) -> None:
    """Show horizontal bars on [0, 1] in the given order; `title` is for screen readers."""
    rows = [
        {"label": score.label, "share": score.probability, "text": percent(score.probability)}
        for score in scores
    ]
    _bars(key=key, data={"title": title, "rows": rows})
