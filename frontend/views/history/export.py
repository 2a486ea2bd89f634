"""Download buttons for the classifications and images that match the filters."""

from functools import partial
from typing import Literal

import streamlit as st

from client import Client, HistoryFilters

FileFormat = Literal["csv", "ndjson", "images"]

MAX_BYTES = 100_000_000  # an export is held in the memory of this process
MAX_IMAGES = 5_000  # of 10 kB each on average

_FORMATS: tuple[tuple[str, FileFormat, str, str], ...] = (
    ("Download CSV", "csv", "history.csv", "text/csv"),
    ("Download JSON lines", "ndjson", "history.ndjson", "application/x-ndjson"),
    ("Download images", "images", "history.zip", "application/zip"),
)


class ExportTooLargeError(Exception):
    """The export exceeds MAX_BYTES."""


def show(client: Client, filters: HistoryFilters, total: int | None, *, has_images: bool) -> None:
    """Show the buttons; `total` classifications match, None for very many."""
    st.header("Export", anchor=False)
    is_too_large = total is None or total > MAX_IMAGES
    with st.container(horizontal=True):
        for name, file_format, file_name, media_type in _FORMATS:
            if file_format == "images" and not has_images:
                continue
            st.download_button(
                name,
                partial(download, client, filters, file_format),
                file_name=file_name,
                mime=media_type,
                icon=":material/download:",
                on_click="ignore",
                disabled=total == 0 or (file_format == "images" and is_too_large),
            )
    st.caption("Includes all classifications that match the filters, not only this page.")
    if has_images:
        st.caption(
            "The images are in a folder for each right label, as Evaluate expects them. "
            "Those without feedback are in a folder that Evaluate skips."
            if not is_too_large
            else f"The images of at most {MAX_IMAGES:,} classifications can be downloaded: narrow "
            "the filters, or use GET /history/export?format=images."
        )


def download(client: Client, filters: HistoryFilters, file_format: FileFormat) -> bytes:
    """Return the file; raise ExportTooLargeError, or ClientError if the backend fails."""
    content = bytearray()
    for chunk in client.history.export(filters, file_format=file_format):
        content += chunk
        if len(content) > MAX_BYTES:
            raise ExportTooLargeError
    return bytes(content)
