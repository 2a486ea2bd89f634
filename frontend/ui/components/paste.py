"""A listener for images pasted anywhere on the page."""

import base64
import binascii
from collections.abc import Callable
from pathlib import Path

import streamlit as st

FOLDER = Path(__file__).parent
MAX_BYTES = 20_000_000

_paste = st.components.v2.component(
    "paste",
    html='<p><span class="hint"></span> <span class="live" role="status"></span></p>',
    css=(FOLDER / "paste.css").read_text("utf-8"),
    js=(FOLDER / "paste.js").read_text("utf-8"),
)


def show(*, key: str, on_paste: Callable[[], None]) -> None:
    """Show how to paste, and call `on_paste` after a paste."""
    _paste(key=key, data={"max_bytes": MAX_BYTES}, on_image_change=on_paste)


def pasted(key: str) -> tuple[str, bytes] | None:
    """Return the name and content of the pasted image; None if the browser sent no image."""
    value = (st.session_state.get(key) or {}).get("image")
    if not isinstance(value, dict) or not isinstance(value.get("data"), str):
        return None
    try:
        content = base64.b64decode(value["data"].partition(",")[2], validate=True)
    except binascii.Error:
        return None
    return str(value.get("name") or "pasted image"), content
