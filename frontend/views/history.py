"""The page of what was asked, and of what people say is right."""

import streamlit as st


def page() -> None:
    """Show the page."""
    st.title("History", anchor=False)


page()
