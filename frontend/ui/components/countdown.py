"""A visible countdown that reruns the page at its end; screen readers skip it."""

import secrets
from pathlib import Path

import streamlit as st

FOLDER = Path(__file__).parent

_countdown = st.components.v2.component(
    "countdown",
    html='<p role="timer" aria-live="off"></p>',
    css=(FOLDER / "countdown.css").read_text("utf-8"),
    js=(FOLDER / "countdown.js").read_text("utf-8"),
)


def show(seconds: float, *, key: str) -> None:
    """Start a countdown from `seconds`, or from more after unsuccessful retries.

    It stops after MAX_RETRIES (countdown.js), and resets once it has disappeared from the page.
    """
    data = {"seconds": seconds, "token": secrets.token_hex(4)}
    _countdown(key=key, data=data, on_due_change=lambda: None)
