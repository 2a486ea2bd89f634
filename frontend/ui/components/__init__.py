"""Custom Streamlit components, made of the HTML, CSS and JavaScript files in this folder."""

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


def _read(file: str) -> str:
    return (Path(__file__).parent / file).read_text("utf-8")
