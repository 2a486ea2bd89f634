"""Custom Streamlit components, made of the HTML, CSS and JavaScript files in this folder."""

import base64
import binascii
from pathlib import Path

import streamlit as st
from streamlit.components.v2.types import ComponentRenderer


def register(name: str, html: str | None = None, css: str | None = None) -> ComponentRenderer:
    """Register the component `name`: its HTML and the files NAME.css and NAME.js.

    Without `html`, it is in NAME.html. `css` is another component whose style is used.
    """
    html = html or _read(f"{name}.html")
    css_text, js_text = _read(f"{css or name}.css"), _read(f"{name}.js")
    return st.components.v2.component(name, html=html, css=css_text, js=js_text)


def decode_data_url(url: object, prefix: str, max_length: int) -> bytes | None:
    """Return the content of a base64 data URL; None for anything else that a browser sends.

    The URL must start with `prefix` and have at most `max_length` characters.
    """
    if not isinstance(url, str) or not url.startswith(prefix) or len(url) > max_length:
        return None
    try:
        return base64.b64decode(url.partition(",")[2], validate=True)
    except binascii.Error:
        return None


def _read(file: str) -> str:
    return (Path(__file__).parent / file).read_text("utf-8")
