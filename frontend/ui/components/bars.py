"""The likeliest labels as bars, each with its percentage: text that a screen reader reads too.

A chart of Vega costs the server 20 ms and the browser far more, at every stroke of a drawing.
"""

from collections.abc import Sequence
from pathlib import Path

import streamlit as st

from client import ClassScore
from frontend.ui.formatting import percent

HERE = Path(__file__).parent

_bars = st.components.v2.component(
    "bars",
    html='<ol role="list"></ol>',
    css=(HERE / "bars.css").read_text("utf-8"),
    js=(HERE / "bars.js").read_text("utf-8"),
)


def show(title: str, guesses: Sequence[ClassScore], *, key: str | None = None) -> None:
    """Draw horizontal bars on [0, 1] in the order given; `title` names them to screen readers."""
    rows = [
        {"label": guess.label, "share": guess.probability, "shown": percent(guess.probability)}
        for guess in guesses
    ]
    _bars(key=key, data={"title": title, "rows": rows})
