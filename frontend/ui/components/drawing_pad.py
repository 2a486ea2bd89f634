"""The pad to draw on, for mouse, finger, pen and keyboard."""

import base64
import binascii
from pathlib import Path

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


def drawing(key: str) -> bytes | None:
    """Return what is on the pad of that key, as PNG; it outlives a change of page."""
    kept = f"{key} kept"
    news = (st.session_state.get(key) or {}).get("drawing")
    if isinstance(news, dict):
        st.session_state[kept] = _read(news.get("png"))
    drawn: bytes | None = st.session_state.get(kept)
    return drawn


def show(key: str, *, drawn: bool, says: str) -> None:
    """Mount the pad; its strokes outlive a reload in the browser.

    `drawn` tells whether there is a drawing here; `says` is read out to those who cannot see the
    answer appear.
    """
    _pad(
        key=key,
        data={"drawn": drawn, "says": says},
        default={"drawing": None},
        on_drawing_change=lambda: None,
    )


def _read(url: object) -> bytes | None:
    """Trust nothing that a browser sends: what is no drawing is an empty pad."""
    if not isinstance(url, str) or not url.startswith(PREFIX) or len(url) > MOST_CHARACTERS:
        return None
    try:
        return base64.b64decode(url.removeprefix(PREFIX), validate=True)
    except binascii.Error:
        return None
