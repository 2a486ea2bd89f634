"""What is looked for in the history: widgets whose values are in the page's address."""

from collections.abc import Sequence
from datetime import UTC, date, datetime, time, timedelta, tzinfo

import streamlit as st

from client import HistoryFilters

ANY = "Any"
KEYS = ("answered-by", "answer", "corrections", "known", "from", "to")
_SAID = {ANY: None, "Said right or wrong": True, "Nothing said yet": False}
_KNOWN = {ANY: None, "Like what the model knows": True, "Not like it": False}


def is_narrowed() -> bool:
    """Tell whether the address has a filter."""
    return any(name in st.query_params for name in KEYS)


def show(models: Sequence[str], zone: tzinfo) -> HistoryFilters:
    """Offer the filters and return what is wanted; days are those of `zone`, both included."""
    first, second = st.columns(2), st.columns(2)
    with first[0]:
        model = st.selectbox("Model", [ANY, *models], key="answered-by", bind="query-params")
    with first[1]:
        label = st.text_input("Answer", key="answer", bind="query-params", placeholder="Any label")
    with second[0]:
        said = st.selectbox("Corrections", list(_SAID), key="corrections", bind="query-params")
    with second[1]:
        known = st.selectbox("Pictures", list(_KNOWN), key="known", bind="query-params")
    third = st.columns(2)
    with third[0]:
        since = st.date_input("From", value=None, key="from", bind="query-params")
    with third[1]:
        until = st.date_input("To", value=None, key="to", bind="query-params")
    return HistoryFilters(
        model=None if model == ANY else model,
        label=label.strip() or None,
        corrected=_SAID[said],
        in_distribution=_KNOWN[known],
        since=_midnight(since, zone),
        until=_midnight(until, zone, days=1),
    )


def _midnight(day: date | None, zone: tzinfo, days: int = 0) -> datetime | None:
    """Return when the day begins, or, with `days`, one so much later."""
    if day is None:
        return None
    try:
        return datetime.combine(day + timedelta(days=days), time(), zone).astimezone(UTC)
    except OverflowError:
        return None
