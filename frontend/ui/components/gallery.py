"""Pictures to click."""

import base64
from collections.abc import Callable, Sequence
from pathlib import Path

import streamlit as st

from frontend.examples import Example

HERE = Path(__file__).parent

_gallery = st.components.v2.component(
    "gallery",
    html='<p id="title"></p><div class="row" role="group" aria-labelledby="title"></div>',
    css=(HERE / "gallery.css").read_text("utf-8"),
    js=(HERE / "gallery.js").read_text("utf-8"),
)


def show(title: str, pictures: Sequence[Example], *, key: str, on_pick: Callable[[], None]) -> None:
    """Show pictures as buttons and call `on_pick` when one is clicked."""
    shown = [
        {
            "says": picture.says,
            "src": f"data:{picture.media_type};base64,{base64.b64encode(picture.content).decode()}",
        }
        for picture in pictures
    ]
    _gallery(key=key, data={"title": title, "pictures": shown}, on_pick_change=on_pick)


def picked(key: str) -> int | None:
    """Return the index of the picture just clicked, or None."""
    index = (st.session_state.get(key) or {}).get("pick")
    return index if isinstance(index, int) else None
