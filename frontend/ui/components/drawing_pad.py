"""A drawing pad for mouse, touch, pen and keyboard."""

import base64
import binascii

import streamlit as st

from frontend.ui import components

PREFIX = "data:image/png;base64,"
MAX_URL_LENGTH = 4_000_000

_pad = components.register("drawing_pad")


def drawing(key: str) -> bytes | None:
    """Return the drawing as PNG; it persists when the user changes the page."""
    saved_key = f"{key} saved"
    value = (st.session_state.get(key) or {}).get("drawing")
    if isinstance(value, dict):
        st.session_state[saved_key] = _decode(value.get("png"))
    png: bytes | None = st.session_state.get(saved_key)
    return png


def show(key: str, *, has_drawing: bool, announcement: str) -> None:
    """Show the pad; its strokes persist in the browser across a reload.

    `has_drawing` is whether the session has a drawing; screen readers read the `announcement`.
    """
    _pad(
        key=key,
        data={"has_drawing": has_drawing, "announcement": announcement},
        default={"drawing": None},
        on_drawing_change=lambda: None,
    )


def _decode(url: object) -> bytes | None:
    """Return the PNG of a data URL; None for anything else that a browser sends."""
    if not isinstance(url, str) or not url.startswith(PREFIX) or len(url) > MAX_URL_LENGTH:
        return None
    try:
        return base64.b64decode(url.removeprefix(PREFIX), validate=True)
    except binascii.Error:
        return None
