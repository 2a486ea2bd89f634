"""Brings the player to the frame that was picked."""

from pathlib import Path

import streamlit as st

_seek = st.components.v2.component(
    "seek", html="<span></span>", js=(Path(__file__).parent / "seek.js").read_text("utf-8")
)


def show(time: float, *, is_first: bool, key: str) -> None:
    """Let the player on the page show what is there at `time`, in seconds, if that is another.

    Where a page begins with the first frame, the player is left as it is.
    """
    _seek(key=key, data={"time": time, "first": is_first})
