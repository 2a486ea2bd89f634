"""The History page: stored classifications and their feedback."""

import re
from collections.abc import Sequence
from datetime import UTC, tzinfo
from functools import partial
from typing import Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import streamlit as st

from client import (
    Accuracy,
    Client,
    ClientError,
    HistoryFilters,
    HistoryPage,
    StoredClassification,
)
from frontend.service import errors, feedback, session
from frontend.service.session import Service
from frontend.state import url_state
from frontend.ui import alerts, formatting
from frontend.ui.charts.accuracy import accuracy_chart
from frontend.ui.formatting import MIN_ALTERNATIVE, escape, percent
from frontend.views.history import filters

PAGE_SIZE = 20  # classifications
IMAGE_WIDTH = 112  # px
MAX_EXPORT_BYTES = 100_000_000  # an export is held in the memory of this process
CURSOR_PARAM = "before"  # in the URL
_NEWER_CURSORS = "cursors of newer pages"
_PREVIOUS_FILTERS = "previous filters"
_FILTERS_OPEN = "filters open"
_MESSAGE = "history message"

FileFormat = Literal["csv", "ndjson"]
FORMATS: tuple[tuple[str, FileFormat, str], ...] = (
    ("CSV", "csv", "text/csv"),
    ("JSON lines", "ndjson", "application/x-ndjson"),
)


def show_page() -> None:
    """Show the page."""
    st.title("History", anchor=False)
    st.markdown("Past classifications and their feedback, newest first.")
    service = session.current()
    if not isinstance(service, Service):
        session.show_problem(service)
        return
    models = [model.name for model in service.models.models]
    # A changed `expanded` would open or close the filters while they are in use.
    is_open = st.session_state.setdefault(_FILTERS_OPEN, filters.is_active())
    with st.expander("Filter", icon=":material/filter_list:", expanded=is_open):
        chosen = filters.show(models, _time_zone())
    _reset_page_if_changed(chosen)
    try:
        accuracy = service.client.history.accuracy(chosen)
        results = service.client.history.page(chosen, limit=PAGE_SIZE, cursor=_cursor())
    except ClientError as error:
        alerts.show(errors.describe_history_error(error))
        return
    _show_accuracy(accuracy)
    _show_list(service, results)
    _show_page_buttons(results)
    _show_export(service.client, chosen, is_empty=not results.items)
    _show_delete_all(service.client)


def _show_accuracy(accuracy: Accuracy) -> None:
    if accuracy.accuracy is None:
        return
    reviewed = formatting.count(
        accuracy.confirmed + accuracy.corrected,
        "reviewed classification",
        "reviewed classifications",
    )
    text = f"{accuracy.confirmed:,} of {reviewed} correct ({percent(accuracy.accuracy)})."
    st.header("Accuracy by day", anchor=False)
    st.markdown(escape(text))
    days = sorted(accuracy.days.items(), reverse=True)
    by_day = "; ".join(f"{day}: {percent(one.accuracy or 0)}" for day, one in days)
    st.altair_chart(accuracy_chart(accuracy.days), alt=f"Accuracy by day (UTC). {text} {by_day}")


def _show_list(service: Service, results: HistoryPage) -> None:
    client = service.client
    st.header("Classifications", anchor=False)
    if not results.items:
        st.info("No classifications found. Classify an image, or change the filters.")
    for stored in results.items:
        model = service.models.get(stored.model.name)
        with st.container(border=True, key=f"classification {stored.id}"):
            left, right = st.columns([1, 4], gap="medium")
            with left:
                _show_image(client, stored)
            with right:
                _show_classification(stored, model.input.kind if model else "")
                feedback.show_fragment(
                    feedback.target_of_stored(client, service.models, stored),
                    feedback.corrections_of(stored),
                    "history",
                    extra_actions=partial(_show_delete, client, stored.id),
                )


def _show_delete(client: Client, classification_id: str) -> None:
    with st.popover("Delete", icon=":material/delete:", key=f"open delete {classification_id}"):
        st.markdown("This deletes the classification, its feedback and its image.")
        st.button(
            "Delete this classification",
            key=f"delete {classification_id}",
            type="primary",
            on_click=_delete,
            args=(client, classification_id),
        )


def _show_image(client: Client, stored: StoredClassification) -> None:
    if not stored.image:
        st.caption(":material/image_not_supported: Image not stored")
        return
    try:
        content = _fetch_image(client.url, stored.id, _client=client)
    except ClientError:
        st.caption(":material/broken_image: Image unavailable")
        return
    alt = f"Image classified as {stored.prediction} ({percent(stored.confidence)})"
    st.image(content, width=IMAGE_WIDTH, alt=alt)


def _show_classification(stored: StoredClassification, kind: str) -> None:
    scores = [(stored.prediction, stored.confidence)]
    scores += [
        (item.label, item.probability)
        for item in stored.top[1:3]
        if item.probability >= MIN_ALTERNATIVE
    ]
    first, *others = (
        escape(f"{formatting.label_name(label, kind)} ({percent(probability)})")
        for label, probability in scores
    )
    st.markdown(", ".join([f"**{first}**", *others]))
    if stored.in_distribution is False:
        st.markdown(f":material/help: {formatting.not_in_distribution(kind)}")
    time = stored.time.astimezone(_time_zone()).strftime("%d %b %Y, %H:%M:%S")
    st.caption(escape(" · ".join([time, stored.model.name, stored.filename or "no file name"])))


def _show_page_buttons(results: HistoryPage) -> None:
    newer: list[str | None] = st.session_state.setdefault(_NEWER_CURSORS, [])
    cursor = url_state.get(CURSOR_PARAM)
    with st.container(horizontal=True):
        if cursor is not None:
            st.button("Newer", icon=":material/arrow_back:", on_click=_go_to_newer_page)
        if results.next is not None:
            st.button(
                "Older",
                icon=":material/arrow_forward:",
                on_click=_go_to_page,
                args=(results.next, [*newer, cursor]),
            )


def _show_export(client: Client, chosen: HistoryFilters, *, is_empty: bool) -> None:
    st.header("Export", anchor=False)
    with st.container(horizontal=True):
        for name, file_format, media_type in FORMATS:
            st.download_button(
                f"Download as {name}",
                partial(_export, client, chosen, file_format),
                file_name=f"history.{file_format}",
                mime=media_type,
                icon=":material/download:",
                on_click="ignore",
                disabled=is_empty,
            )
    st.caption("Includes all classifications that match the filter, not only this page.")


def _show_delete_all(client: Client) -> None:
    with st.popover("Delete all", icon=":material/delete_forever:"):
        st.markdown("This deletes all history, including what the filter hides.")
        st.button("Delete all history", type="primary", on_click=_clear, args=(client,))
    if message := st.session_state.pop(_MESSAGE, None):
        st.toast(message)


def _export(client: Client, chosen: HistoryFilters, file_format: FileFormat) -> bytes:
    content = bytearray()
    for chunk in client.history.export(chosen, file_format=file_format):
        content += chunk
        if len(content) > MAX_EXPORT_BYTES:
            break
    return bytes(content)


def _reset_page_if_changed(chosen: HistoryFilters) -> None:
    """Go to the newest page if the filters changed: a cursor is valid for one list only."""
    if st.session_state.get(_PREVIOUS_FILTERS, chosen) != chosen:
        _go_to_page(None, [])
    st.session_state[_PREVIOUS_FILTERS] = chosen


def _cursor() -> str | None:
    """Return the cursor of the page; remove an invalid one from the URL."""
    cursor = url_state.get(CURSOR_PARAM)
    if cursor is not None and not re.fullmatch("[0-9A-HJKMNP-TV-Z]{26}", cursor):
        _go_to_page(None, [])
        return None
    return cursor


def _go_to_page(cursor: str | None, newer: Sequence[str | None]) -> None:
    url_state.put(CURSOR_PARAM, cursor)
    st.session_state[_NEWER_CURSORS] = list(newer)


def _go_to_newer_page() -> None:
    *newer, cursor = st.session_state.get(_NEWER_CURSORS) or [None]
    _go_to_page(cursor, newer)


def _delete(client: Client, classification_id: str) -> None:
    try:
        client.history.delete(classification_id)
    except ClientError as error:
        st.session_state[_MESSAGE] = errors.describe_history_error(error).message
    else:
        st.session_state[_MESSAGE] = "Classification deleted."
        feedback.rerun_page()


def _clear(client: Client) -> None:
    try:
        deleted = client.history.clear()
    except ClientError as error:
        st.session_state[_MESSAGE] = errors.describe_history_error(error).message
    else:
        _go_to_page(None, [])
        count = formatting.count(deleted, "classification", "classifications")
        st.session_state[_MESSAGE] = f"{count} deleted."


def _time_zone() -> tzinfo:
    """Return the time zone of the user's browser, else UTC."""
    try:
        return ZoneInfo(st.context.timezone or "UTC")
    except (ZoneInfoNotFoundError, ValueError):
        return UTC


@st.cache_data(show_spinner=False, max_entries=500)
def _fetch_image(url: str, classification_id: str, *, _client: Client) -> bytes:
    return _client.history.image(classification_id)


show_page()
