"""The History page: stored classifications and their feedback."""

import re
from collections.abc import Sequence
from functools import partial
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
from frontend.views.history import deletion, export, filters, storage

PAGE_SIZE = 20  # classifications
IMAGE_WIDTH = 112  # px
MAX_LABELS = 10  # listed of a multi-label model
CURSOR_PARAM = "before"  # in the URL
_NEWER_CURSORS = "cursors of newer pages"
_PREVIOUS_FILTERS = "previous filters"


def show_page() -> None:
    """Show the page."""
    st.title("History", anchor=False)
    st.markdown("Past classifications and their feedback, newest first.")
    service = session.current()
    if not isinstance(service, Service):
        session.show_problem(service)
        return
    client = service.client
    zone = _time_zone()
    chosen = filters.show([model.name for model in service.models.models], zone)
    _reset_page_if_changed(chosen)
    try:
        accuracy = client.history.accuracy(chosen, time_zone=zone.key)
        results = client.history.page(chosen, limit=PAGE_SIZE, cursor=_cursor())
    except ClientError as error:
        alerts.show(errors.describe_history_error(error))
        return
    _show_accuracy(accuracy)
    _show_list(service, results, accuracy.total)
    _show_page_buttons(results)
    stored = storage.get(client)
    export.show(client, chosen, accuracy.total, has_images=bool(stored and stored.images))
    st.header("Stored data", anchor=False)
    storage.show(service)
    deletion.show_delete_matching(client, chosen, accuracy.total, partial(_go_to_page, None, []))
    deletion.show_message()


def _show_accuracy(accuracy: Accuracy) -> None:
    if accuracy.accuracy is None:
        return
    reviewed = formatting.count(
        accuracy.confirmed + accuracy.corrected,
        "reviewed classification",
        "reviewed classifications",
    )
    text = f"{accuracy.confirmed:,} of {reviewed} correct ({percent(accuracy.accuracy)})."
    st.markdown(escape(text))
    with st.expander("Accuracy by day", icon=":material/insights:"):
        days = sorted(accuracy.days.items(), reverse=True)
        by_day = "; ".join(f"{day}: {percent(one.accuracy or 0)}" for day, one in days)
        st.altair_chart(accuracy_chart(accuracy.days), alt=f"Accuracy by day. {text} {by_day}")


def _show_list(service: Service, results: HistoryPage, total: int | None) -> None:
    number = "Over 100,000" if total is None else f"{total:,}"
    st.header(f"{number} {'classification' if total == 1 else 'classifications'}", anchor=False)
    if not results.items:
        st.info("No classifications found. Classify an image, or change the filters.")
    deletion.show_selection(service.client, results.items)
    for stored in results.items:
        model = service.models.get(stored.model.name)
        with st.container(border=True, key=f"classification {stored.id}"):
            left, right = st.columns([1, 4], gap="medium")
            with left:
                deletion.show_checkbox(stored)
                _show_image(service.client, stored)
            with right:
                _show_classification(stored, model.input.kind if model else "")
                if stored.labels is not None:  # feedback names one right label
                    deletion.show_delete_one(service.client, stored.id)
                    continue
                feedback.show_fragment(
                    feedback.target_of_stored(service.client, service.models, stored),
                    feedback.corrections_of(stored),
                    "history",
                    extra_actions=partial(deletion.show_delete_one, service.client, stored.id),
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
    if stored.labels is not None:
        names = [
            f"**“{escape(item.label)}”** ({percent(item.probability)})"
            for item in stored.labels[:MAX_LABELS]
        ]
        st.markdown(", ".join(names) or formatting.NO_LABEL)
        _show_origin(stored)
        return
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
    if stored.in_distribution is False:
        st.markdown(f"**{formatting.not_in_distribution(kind)}**")
        closest = escape(formatting.label_name(stored.prediction, kind))
        st.caption(f"Closest label: {closest}")
    else:
        st.markdown(", ".join([f"**{first}**", *others]))
    _show_origin(stored)


def _show_origin(stored: StoredClassification) -> None:
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


def _time_zone() -> ZoneInfo:
    """Return the time zone of the user's browser, else UTC."""
    try:
        return ZoneInfo(st.context.timezone or "UTC")
    except (ZoneInfoNotFoundError, ValueError, OSError):  # OSError: the name of a folder of zones
        return ZoneInfo("UTC")


@st.cache_data(show_spinner=False, max_entries=500)
def _fetch_image(url: str, classification_id: str, *, _client: Client) -> bytes:
    return _client.history.image(classification_id)


show_page()
