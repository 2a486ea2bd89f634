"""Counts down the seconds, visibly, and then runs the page again; not read out while it counts."""

import secrets
from pathlib import Path

import streamlit as st

HERE = Path(__file__).parent

_countdown = st.components.v2.component(
    "countdown",
    html='<p role="timer" aria-live="off"></p>',
    css=(HERE / "countdown.css").read_text("utf-8"),
    js=(HERE / "countdown.js").read_text("utf-8"),
)


def show(seconds: float, *, key: str) -> None:
    """Begin to count from `seconds`, or longer ones where it has not helped before.

    It gives up after a few times, and begins anew once it has been gone from the page.
    """
    data = {"seconds": seconds, "token": secrets.token_hex(4)}
    _countdown(key=key, data=data, on_due_change=lambda: None)
