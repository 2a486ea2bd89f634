"""A drawing pad for mouse, touch, pen and keyboard."""

from dataclasses import dataclass

import streamlit as st

from frontend.ui import components

PREFIX = "data:image/png;base64,"
MAX_URL_LENGTH = 4_000_000

_pad = components.register("drawing_pad")


@dataclass(frozen=True, slots=True)
class Drawing:
    """The content of the pad.

    `png` is None for an empty pad. A drawing keeps its `id` until the pad is cleared. It is
    finished when no stroke has been added for a few seconds (drawing_pad.js).
    """

    png: bytes | None = None
    id: str = ""
    is_finished: bool = False


EMPTY = Drawing()


def drawing(key: str) -> Drawing:
    """Return the drawing; it persists when the user changes the page."""
    saved_key = f"{key} saved"
    value = (st.session_state.get(key) or {}).get("drawing")
    if isinstance(value, dict):
        drawing_id, is_finished = str(value.get("id") or ""), value.get("finished") is True
        png = components.decode_data_url(value.get("png"), PREFIX, MAX_URL_LENGTH)
        st.session_state[saved_key] = Drawing(png, drawing_id, is_finished)
    saved: Drawing = st.session_state.get(saved_key, EMPTY)
    return saved


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
