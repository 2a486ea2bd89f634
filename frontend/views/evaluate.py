"""The page that measures a model on labelled pictures."""

import streamlit as st


def page() -> None:
    """Show the page."""
    st.title("Evaluate", anchor=False)


page()
