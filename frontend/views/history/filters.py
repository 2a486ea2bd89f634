"""The filters of the history, as widgets whose values are in the URL."""

from collections.abc import Sequence
from datetime import UTC, date, datetime, time, timedelta, tzinfo

import streamlit as st

from client import HistoryFilters

ANY = "Any"
PARAMS = ("answered-by", "answer", "corrections", "known", "from", "to")
_FEEDBACK = {ANY: None, "With feedback": True, "Without feedback": False}
_IN_DISTRIBUTION = {ANY: None, "One of its classes": True, "Not one of its classes": False}


def is_active() -> bool:
    """Return whether the URL has a filter."""
    return any(name in st.query_params for name in PARAMS)


def show(models: Sequence[str], zone: tzinfo) -> HistoryFilters:
    """Show the filters and return their values; days are in `zone`, both inclusive."""
    first, second, third = st.columns(2), st.columns(2), st.columns(2)
    with first[0]:
        model = st.selectbox("Model", [ANY, *models], key="answered-by", bind="query-params")
    with first[1]:
        label = st.text_input(
            "Prediction", key="answer", bind="query-params", placeholder="Any label"
        )
    with second[0]:
        feedback = st.selectbox("Feedback", list(_FEEDBACK), key="corrections", bind="query-params")
    with second[1]:
        content = st.selectbox("Image", list(_IN_DISTRIBUTION), key="known", bind="query-params")
    with third[0]:
        since = st.date_input("From", value=None, key="from", bind="query-params")
    with third[1]:
        until = st.date_input("To", value=None, key="to", bind="query-params")
    return HistoryFilters(
        model=None if model == ANY else model,
        label=label.strip() or None,
        corrected=_FEEDBACK[feedback],
        in_distribution=_IN_DISTRIBUTION[content],
        since=_midnight(since, zone),
        until=_midnight(until, zone, offset_days=1),
    )


def _midnight(day: date | None, zone: tzinfo, offset_days: int = 0) -> datetime | None:
    """Return the start of a day in UTC, or of the day `offset_days` later."""
    if day is None:
        return None
    try:
        midnight = datetime.combine(day + timedelta(days=offset_days), time(), zone)
        return midnight.astimezone(UTC)
    except OverflowError:
        return None
