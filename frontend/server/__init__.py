"""ASGI parts of the page's server, around Streamlit's own."""
