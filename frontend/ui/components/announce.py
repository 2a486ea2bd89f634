"""Announces a new result: scrolls it into view and has screen readers read it."""

from pathlib import Path

import streamlit as st

FOLDER = Path(__file__).parent

_announce = st.components.v2.component(
    "announce",
    html='<div class="message" role="status" aria-live="polite"></div>',
    css=(FOLDER / "announce.css").read_text("utf-8"),
    js=(FOLDER / "announce.js").read_text("utf-8"),
)


def show(message: str, *, token: str, key: str) -> None:
    """Mark the position of a result; a new `token` announces a new result."""
    _announce(key=key, data={"message": message, "token": token})
