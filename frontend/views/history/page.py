"""The page of what was asked, and of what people say is right."""

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
    ModelInfo,
    StoredClassification,
)
from frontend.service import errors, feedback, session
from frontend.service.feedback import FeedbackTarget
from frontend.service.session import Service
from frontend.state import url_state
from frontend.ui import alerts, formatting
from frontend.ui.charts.accuracy import accuracy_chart
from frontend.ui.formatting import MIN_ALTERNATIVE, escape, percent
from frontend.views.history import filters

ANSWERS = 20  # on one page
PICTURE_WIDTH = 112
MOST_EXPORTED = 100_000_000  # bytes: a download is made in the memory of this process
CURSOR = "before"
_NEWER = "cursors of newer pages"

FileFormat = Literal["csv", "ndjson"]
FORMATS: tuple[tuple[str, FileFormat, str], ...] = (
    ("CSV", "csv", "text/csv"),
    ("JSON lines", "ndjson", "application/x-ndjson"),
)


def page() -> None:
    """Show the page."""
    st.title("History", anchor=False)
    st.markdown("What this backend answered, the newest first, and what people said was right.")
    service = session.current()
    if not isinstance(service, Service):
        session.show_problem(service)
        return
    models = {model.name: model for model in service.models.models}
    with st.expander("Filter", icon=":material/filter_list:", expanded=filters.is_narrowed()):
        wanted = filters.show(list(models), _zone())
    _start_anew_when_changed(wanted)
    try:
        accuracy = service.client.history.accuracy(wanted)
        found = service.client.history.page(wanted, limit=ANSWERS, cursor=_cursor())
    except ClientError as error:
        alerts.show(errors.describe_history_error(error))
        return
    _show_accuracy(accuracy)
    _show_answers(service.client, models, found)
    _show_turning(found)
    _show_downloads(service.client, wanted, is_empty=not found.items)
    _show_forgetting(service.client)


def _show_accuracy(accuracy: Accuracy) -> None:
    if (share := accuracy.accuracy) is None:
        return
    looked_at = accuracy.confirmed + accuracy.corrected
    said = (
        f"Of {formatting.count(looked_at, 'answer', 'answers')} that people looked at, "
        f"{formatting.count(accuracy.confirmed, 'was', 'were')} right: {percent(share)}."
    )
    st.subheader("Accuracy by day", anchor=False)
    st.markdown(escape(said))
    days = sorted(accuracy.days.items(), reverse=True)
    named = "; ".join(f"{day}: {percent(one.accuracy or 0)}" for day, one in days)
    st.altair_chart(accuracy_chart(accuracy.days), alt=f"Accuracy by day (UTC). {said} {named}")


def _show_answers(client: Client, models: dict[str, ModelInfo], found: HistoryPage) -> None:
    st.subheader("Answers", anchor=False)
    if not found.items:
        st.info("There are no answers here. Classify a picture, or change the filter.")
    for answer in found.items:
        model = models.get(answer.model.name)
        with st.container(border=True, key=f"answer {answer.id}"):
            left, right = st.columns([1, 4], gap="medium")
            with left:
                _show_picture(client, answer)
            with right:
                _show_answer(answer, model.input.kind if model else "")
                feedback.show_fragment(
                    _subject(client, answer, model),
                    {} if answer.correction is None else {answer.id: answer.correction},
                    "history",
                    extra_actions=partial(_offer_to_delete, client, answer.id),
                )


def _subject(client: Client, answer: StoredClassification, model: ModelInfo | None) -> FeedbackTarget:
    """What can be corrected; of a model that is not served any more only what it answered."""
    labels = model.labels if model else [guess.label for guess in answer.top]
    kind = model.input.kind if model else ""
    return FeedbackTarget(client, answer.id, answer.prediction, labels, kind)


def _offer_to_delete(client: Client, answer_id: str) -> None:
    with st.popover("Delete", icon=":material/delete:", key=f"forget {answer_id}"):
        st.markdown("The answer, its correction and its picture are gone then.")
        st.button(
            "Delete this answer",
            key=f"delete {answer_id}",
            type="primary",
            on_click=_delete,
            args=(client, answer_id),
        )


def _show_picture(client: Client, answer: StoredClassification) -> None:
    if not answer.image:
        st.caption(":material/image_not_supported: Picture not kept")
        return
    try:
        content = _picture(client.url, answer.id, _client=client)
    except ClientError:
        st.caption(":material/broken_image: Picture not to be had")
        return
    said = f"The picture that was answered {answer.prediction} with {percent(answer.confidence)}"
    st.image(content, width=PICTURE_WIDTH, alt=said)


def _show_answer(answer: StoredClassification, kind: str) -> None:
    what = formatting.label_name(answer.prediction, kind)
    named = [f"{what[0].upper()}{what[1:]} ({percent(answer.confidence)})"]
    named += [
        f"{guess.label} ({percent(guess.probability)})"
        for guess in answer.top[1:3]
        if guess.probability >= MIN_ALTERNATIVE
    ]
    first, *others = map(plain, named)
    st.markdown(", ".join([f"**{first}**", *others]))
    if answer.in_distribution is False:
        st.markdown(":material/help: Not like what the model knows.")
    moment = answer.time.astimezone(_zone()).strftime("%d %b %Y, %H:%M:%S")
    parts = [moment, answer.model.name, answer.filename or "without a name"]
    st.caption(escape(" · ".join(parts)))


def _show_turning(found: HistoryPage) -> None:
    newer: list[str | None] = st.session_state.setdefault(_NEWER, [])
    here = url_state.get(CURSOR)
    with st.container(horizontal=True):
        if here is not None:
            st.button("Newer", icon=":material/arrow_back:", on_click=_turn_back)
        if found.next is not None:
            st.button(
                "Older",
                icon=":material/arrow_forward:",
                on_click=_turn,
                args=(found.next, [*newer, here]),
            )


def _show_downloads(client: Client, wanted: HistoryFilters, *, is_empty: bool) -> None:
    st.subheader("Take it with you", anchor=False)
    with st.container(horizontal=True):
        for name, file_format, mime in FORMATS:
            st.download_button(
                f"Download as {name}",
                partial(_export, client, wanted, file_format),
                file_name=f"history.{file_format}",
                mime=mime,
                icon=":material/download:",
                on_click="ignore",
                disabled=is_empty,
            )
    st.caption("All answers that fit the filter, not only those of this page.")


def _show_forgetting(client: Client) -> None:
    with st.popover("Delete all", icon=":material/delete_forever:"):
        st.markdown("Every answer, correction and picture is gone then, whatever the filter says.")
        st.button("Delete all for good", type="primary", on_click=_clear, args=(client,))
    if message := st.session_state.pop("forgotten", None):
        st.toast(message)


def _export(client: Client, wanted: HistoryFilters, file_format: FileFormat) -> bytes:
    content = bytearray()
    for piece in client.history.export(wanted, file_format=file_format):
        content += piece
        if len(content) > MOST_EXPORTED:
            break
    return bytes(content)


def _start_anew_when_changed(wanted: HistoryFilters) -> None:
    """Another filter begins at its newest answer: a cursor is a place in one list."""
    if st.session_state.get("searched", wanted) != wanted:
        _turn(None, [])
    st.session_state["searched"] = wanted


def _cursor() -> str | None:
    """Return where the page begins; what is no answer's id is dropped from the address."""
    cursor = url_state.get(CURSOR)
    if cursor is not None and not re.fullmatch("[0-9A-HJKMNP-TV-Z]{26}", cursor):
        _turn(None, [])
        return None
    return cursor


def _turn(cursor: str | None, newer: Sequence[str | None]) -> None:
    url_state.put(CURSOR, cursor)
    st.session_state[_NEWER] = list(newer)


def _turn_back() -> None:
    *newer, cursor = st.session_state.get(_NEWER) or [None]
    _turn(cursor, newer)


def _delete(client: Client, answer_id: str) -> None:
    try:
        client.history.delete(answer_id)
    except ClientError as error:
        st.session_state["forgotten"] = errors.describe_history_error(error).message
    else:
        st.session_state["forgotten"] = "The answer was deleted."
        feedback.rerun_page()


def _clear(client: Client) -> None:
    try:
        deleted = client.history.clear()
    except ClientError as error:
        st.session_state["forgotten"] = errors.describe_history_error(error).message
    else:
        _turn(None, [])
        number = formatting.count(deleted, "answer was", "answers were")
        st.session_state["forgotten"] = f"{number} deleted."


def _zone() -> tzinfo:
    """Return the time zone of whoever looks at the page."""
    try:
        return ZoneInfo(st.context.timezone or "UTC")
    except (ZoneInfoNotFoundError, ValueError):
        return UTC


@st.cache_data(show_spinner=False, max_entries=500)
def _picture(url: str, answer_id: str, *, _client: Client) -> bytes:
    return _client.history.image(answer_id)


page()
