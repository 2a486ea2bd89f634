"""Download buttons for the classifications and images that match the filters."""

from functools import partial
from typing import Literal

import streamlit as st

from client import Client, HistoryFilters
from frontend.state.downloads import Download, downloads

FileFormat = Literal["csv", "ndjson", "images"]

TEACH = "views/teach/page.py"
MAX_IMAGES = 100_000  # that the backend exports in one zip

_URLS = "download URLs"
_FORMATS: tuple[tuple[str, FileFormat, str, str], ...] = (
    ("Download CSV", "csv", "history.csv", "text/csv"),
    ("Download JSON lines", "ndjson", "history.ndjson", "application/x-ndjson"),
    ("Download images", "images", "history.zip", "application/zip"),
)


def show(client: Client, filters: HistoryFilters, total: int | None, *, has_images: bool) -> None:
    """Show the buttons; `total` classifications match, None for very many."""
    st.header("Export", anchor=False)
    is_too_large = total is None or total > MAX_IMAGES
    with st.container(horizontal=True):
        for name, file_format, file_name, media_type in _FORMATS:
            if file_format == "images" and not has_images:
                continue
            chunks = partial(client.history.export, filters, file_format=file_format)
            st.link_button(
                name,
                _url((client.url, filters, file_format), Download(file_name, media_type, chunks)),
                icon=":material/download:",
                disabled=total == 0 or (file_format == "images" and is_too_large),
            )
    st.caption("Includes all classifications that match the filters, not only this page.")
    if has_images:
        st.caption(
            "The images are in a folder for each right label, as Evaluate expects them. "
            "Those without feedback are in a folder that Evaluate skips."
            if not is_too_large
            else f"The images of at most {MAX_IMAGES:,} classifications can be downloaded: narrow "
            "the filters."
        )
        st.page_link(
            TEACH,
            label="Teach again with the checked images",
            icon=":material/school:",
            help="On Teach: Teach from feedback for a taught model, the source History for "
            "a new one.",
        )


def _url(key: tuple[str, HistoryFilters, FileFormat], download: Download) -> str:
    """Return the URL of a download, the same one in every run of the page until it expires."""
    urls: dict[tuple[str, HistoryFilters, FileFormat], str] = st.session_state.get(_URLS, {})
    url = urls.get(key)
    if url is None or downloads.find(url.rpartition("/")[2]) is None:
        url = downloads.put(download)
    st.session_state[_URLS] = {**dict(list(urls.items())[-len(_FORMATS) :]), key: url}
    return url
