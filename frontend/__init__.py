"""Streamlit frontend of Prism."""
