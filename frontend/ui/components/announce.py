"""Brings a new answer to attention: scrolled into view, and read out by screen readers."""

from pathlib import Path

import streamlit as st

HERE = Path(__file__).parent

_announce = st.components.v2.component(
    "announce",
    html='<div class="said" role="status" aria-live="polite"></div>',
    css=(HERE / "announce.css").read_text("utf-8"),
    js=(HERE / "announce.js").read_text("utf-8"),
)


def show(says: str, *, token: str, key: str) -> None:
    """Mark the place of an answer; another `token` means that the answer is a new one."""
    _announce(key=key, data={"says": says, "token": token})
