"""A listener for pictures pasted anywhere on the page."""

import base64
import binascii
from collections.abc import Callable
from pathlib import Path

import streamlit as st

from frontend.datasets.images import Picture

HERE = Path(__file__).parent
MOST_BYTES = 20_000_000

_paste = st.components.v2.component(
    "paste",
    html='<p><span class="hint"></span> <span class="live" role="status"></span></p>',
    css=(HERE / "paste.css").read_text("utf-8"),
    js=(HERE / "paste.js").read_text("utf-8"),
)


def show(*, key: str, on_paste: Callable[[], None]) -> None:
    """Say that pasting works, and call `on_paste` when someone does."""
    _paste(key=key, data={"most_bytes": MOST_BYTES}, on_image_change=on_paste)


def pasted(key: str) -> Picture | None:
    """Return the picture just pasted, or None where the browser sent something else."""
    news = (st.session_state.get(key) or {}).get("image")
    if not isinstance(news, dict) or not isinstance(news.get("data"), str):
        return None
    try:
        content = base64.b64decode(news["data"].partition(",")[2], validate=True)
    except binascii.Error:
        return None
    return Picture(str(news.get("name") or "pasted picture"), content)
