"""State in the URL of the page, which persists across a reload and can be shared."""

import streamlit as st


def get(name: str) -> str | None:
    """Return the query parameter, or its value before the user changed the page."""
    if (value := st.query_params.get(name)) is not None:
        st.session_state[_session_key(name)] = value
        return value
    stored: str | None = st.session_state.get(_session_key(name))
    if stored is not None:
        st.query_params[name] = stored
    return stored


def put(name: str, value: str | None) -> None:
    """Set the query parameter; None removes it."""
    st.session_state[_session_key(name)] = value
    if value is None:
        st.query_params.pop(name, None)
    elif st.query_params.get(name) != value:
        st.query_params[name] = value


def _session_key(name: str) -> str:
    return f"{name} in the URL"
