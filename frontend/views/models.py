"""The page of the models that are served."""

import streamlit as st


def page() -> None:
    """Show the page."""
    st.title("Models", anchor=False)


page()
