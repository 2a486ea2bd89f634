"""A row of example images to choose from."""

import base64
from collections.abc import Callable, Sequence
from pathlib import Path

import streamlit as st

from frontend.examples import Example

FOLDER = Path(__file__).parent

_gallery = st.components.v2.component(
    "gallery",
    html='<p id="title"></p><div class="row" role="group" aria-labelledby="title"></div>',
    css=(FOLDER / "gallery.css").read_text("utf-8"),
    js=(FOLDER / "gallery.js").read_text("utf-8"),
)


def show(title: str, images: Sequence[Example], *, key: str, on_pick: Callable[[], None]) -> None:
    """Show images as buttons and call `on_pick` after a click."""
    items = [
        {
            "alt": image.description,
            "src": f"data:{image.media_type};base64,{base64.b64encode(image.content).decode()}",
        }
        for image in images
    ]
    _gallery(key=key, data={"title": title, "images": items}, on_pick_change=on_pick)


def picked(key: str) -> int | None:
    """Return the index of the image that was clicked last, or None."""
    index = (st.session_state.get(key) or {}).get("pick")
    return index if isinstance(index, int) else None
