"""The page that compares two models."""

import streamlit as st


def page() -> None:
    """Show the page."""
    st.title("Compare", anchor=False)


page()
