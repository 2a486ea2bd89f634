"""The pad to draw on, for mouse, finger, pen and keyboard."""

import base64
import binascii
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import streamlit as st

HERE = Path(__file__).parent
PREFIX = "data:image/png;base64,"
MOST_CHARACTERS = 4_000_000

_pad = st.components.v2.component(
    "drawing_pad",
    html=(HERE / "drawing_pad.html").read_text("utf-8"),
    css=(HERE / "drawing_pad.css").read_text("utf-8"),
    js=(HERE / "drawing_pad.js").read_text("utf-8"),
)


@dataclass(frozen=True, slots=True)
class Drawing:
    """What is on the pad: as PNG (None where it is empty), and as strokes to go on with."""

    png: bytes | None = None
    strokes: list[Any] = field(default_factory=list)


def drawing(key: str) -> Drawing:
    """Return what is on the pad of that key; it outlives a change of page."""
    kept = f"{key} kept"
    news = (st.session_state.get(key) or {}).get("drawing")
    if isinstance(news, dict):
        st.session_state[kept] = _read(news)
    drawn: Drawing = st.session_state.get(kept, Drawing())
    return drawn


def show(key: str, drawn: Drawing, *, says: str) -> None:
    """Mount the pad; `says` is read out to those who cannot see the answer appear."""
    _pad(
        key=key,
        data={"strokes": drawn.strokes, "says": says},
        default={"drawing": None},
        on_drawing_change=lambda: None,
    )


def _read(news: dict[str, Any]) -> Drawing:
    """Trust nothing that a browser sends: what is no drawing is an empty one."""
    url, strokes = news.get("png"), news.get("strokes")
    if not isinstance(url, str) or not url.startswith(PREFIX) or len(url) > MOST_CHARACTERS:
        return Drawing()
    try:
        png = base64.b64decode(url.removeprefix(PREFIX), validate=True)
    except binascii.Error:
        return Drawing()
    return Drawing(png, strokes if isinstance(strokes, list) else [])
