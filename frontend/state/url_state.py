"""State in the address of the page: a reload keeps it, and a link shares it."""

import streamlit as st


def get(name: str) -> str | None:
    """Return what the address says of `name`, or what it said before a change of page."""
    if (value := st.query_params.get(name)) is not None:
        st.session_state[_kept(name)] = value
        return value
    kept: str | None = st.session_state.get(_kept(name))
    if kept is not None:
        st.query_params[name] = kept
    return kept


def put(name: str, value: str | None) -> None:
    """Write it into the address; None takes it out."""
    st.session_state[_kept(name)] = value
    if value is None:
        st.query_params.pop(name, None)
    elif st.query_params.get(name) != value:
        st.query_params[name] = value


def _kept(name: str) -> str:
    return f"{name} in the address"
