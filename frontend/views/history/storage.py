"""What the history stores, and the switch that turns storing off for the browser session."""

import streamlit as st

from client import Client, ClientError, HistoryStorage
from frontend.service import session
from frontend.service.session import Service
from frontend.state import store_settings
from frontend.ui.formatting import count, escape_copyable

_CACHED_SECONDS = 60
_SWITCH = "store my classifications"


def show(service: Service) -> None:
    """Show what is stored, where and for how long, and the switch."""
    if (stored := get(service.client)) is not None:
        st.markdown(describe(stored))
    if (page_store := store_settings.store()) is not None:
        st.markdown(
            "The page keeps classified images and results for "
            f"{page_store.seconds / 3600:g} hours, so that their links work after a restart."
        )
    st.session_state[_SWITCH] = service.store
    st.toggle(
        "Store my classifications",
        key=_SWITCH,
        on_change=_set_store,
        help="Applies to this browser tab. Existing classifications are kept until you delete them "
        "below.",
    )


def describe(stored: HistoryStorage) -> str:
    """Return what is stored, where and for how long, as Markdown."""
    duration = f"for {count(stored.days, 'day', 'days')}" if stored.days else "until deleted"
    place = escape_copyable(stored.location) if stored.location else "the backend's database"
    if stored.images:
        return f"Classifications and small copies of the images are kept {duration} in {place}."
    return f"Classifications are kept {duration} in {place}. Images are not stored."


def get(client: Client) -> HistoryStorage | None:
    """Return what the backend stores; None if it does not say."""
    try:
        return _fetch(client.url, _client=client)
    except ClientError:
        return None


@st.cache_data(show_spinner=False, ttl=_CACHED_SECONDS)
def _fetch(url: str, *, _client: Client) -> HistoryStorage:
    return _client.history.storage()


def _set_store() -> None:
    session.set_store_history(st.session_state[_SWITCH])
