"""The filters of the history, as widgets whose values are in the URL."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, tzinfo

import streamlit as st

from client import HistoryFilters

ANY = "Any"
MORE_PARAMS = ("answered-by", "answer", "known", "from", "to")  # within the expander
_IN_DISTRIBUTION = {ANY: None, "One of its classes": True, "Not one of its classes": False}
_OPEN = "filters open"


@dataclass(frozen=True, slots=True)
class _Feedback:
    """A choice of the feedback filter."""

    corrected: bool | None = None
    wrong: bool | None = None


_FEEDBACK = {
    ANY: _Feedback(),
    "Wrong": _Feedback(wrong=True),
    "Correct": _Feedback(wrong=False),
    "With feedback": _Feedback(corrected=True),
    "Without feedback": _Feedback(corrected=False),
}


def show(models: Sequence[str], zone: tzinfo) -> HistoryFilters:
    """Show the filters and return their values; days are in `zone`, both inclusive."""
    left, right = st.columns([3, 2])
    with left:
        search = st.text_input(
            "Search",
            key="search",
            bind="query-params",
            max_chars=500,
            placeholder="File name or label",
            icon=":material/search:",
        )
    with right:
        chosen = st.selectbox("Feedback", list(_FEEDBACK), key="corrections", bind="query-params")
    # A changed `expanded` would open or close the filters while they are in use.
    has_more = any(name in st.query_params for name in MORE_PARAMS)
    is_open = st.session_state.setdefault(_OPEN, has_more)
    with st.expander("More filters", icon=":material/filter_list:", expanded=is_open):
        first, second = st.columns(3), st.columns(2)
        with first[0]:
            model = st.selectbox("Model", [ANY, *models], key="answered-by", bind="query-params")
        with first[1]:
            label = st.text_input(
                "Prediction", key="answer", bind="query-params", placeholder="Any label"
            )
        with first[2]:
            content = st.selectbox(
                "Image", list(_IN_DISTRIBUTION), key="known", bind="query-params"
            )
        with second[0]:
            since = st.date_input("From", value=None, key="from", bind="query-params")
        with second[1]:
            until = st.date_input("To", value=None, key="to", bind="query-params")
    return HistoryFilters(
        model=None if model == ANY else model,
        label=label.strip() or None,
        search=search.strip() or None,
        corrected=_FEEDBACK[chosen].corrected,
        wrong=_FEEDBACK[chosen].wrong,
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
