"""The page that classifies the frames of a clip."""

import streamlit as st


def page() -> None:
    """Show the page."""
    st.title("Video", anchor=False)


page()
