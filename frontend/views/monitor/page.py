"""The Monitor page: drift of a model, in words and by day."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import streamlit as st

from client import BackendError, ClientError, Drift, DriftStatistic
from frontend.service import errors, session
from frontend.service.session import Service
from frontend.ui import alerts
from frontend.ui.alerts import Problem
from frontend.ui.charts.bars import pair_chart
from frontend.ui.charts.drift import day_chart
from frontend.ui.formatting import count, escape, percent
from frontend.views.monitor.statistics import KINDS, MIN_IMAGES, describe, direction

PERIODS = {"7 days": 7, "30 days": 30, "90 days": 90}
DEFAULT_PERIOD = "30 days"
MAX_CHANGED_LABELS = 6


def show_page() -> None:
    """Show the page."""
    st.title("Monitor", anchor=False)
    st.markdown("How the images of a model, and its answers, differ from the first ones.")
    service = session.current()
    if not isinstance(service, Service):
        session.show_problem(service)
        return
    left, right = st.columns([3, 2])
    with left:
        model = st.selectbox(
            "Model",
            [each.name for each in service.models.models],
            key="monitored",
            bind="query-params",
        )
    with right:
        period = st.selectbox(
            "Days", list(PERIODS), index=1, key="monitored-days", bind="query-params"
        )
    since = datetime.now(UTC) - timedelta(days=PERIODS[period])
    try:
        drift = service.client.history.drift(model, since=since, time_zone=_time_zone().key)
    except ClientError as error:
        alerts.show(_describe_error(error))
        return
    if not drift.images:
        version = f", version {drift.version}" if drift.version else ""
        st.info(f"No classifications of {escape(model + version)} are stored. Classify an image.")
        return
    _show_state(drift)
    _show_charts(drift)
    _show_labels(drift)
    _show_method(drift)


def _describe_error(error: ClientError) -> Problem:
    """Return why there is no drift. An older backend takes the path for that of an image."""
    known = ("", "history_off", "unknown_model")
    if isinstance(error, BackendError) and error.status == 404 and error.code not in known:
        return Problem(
            "This backend does not compare images yet.",
            "Update the backend to the version of this page.",
        )
    return errors.describe_history_error(error)


def _show_state(drift: Drift) -> None:
    changed = [one for one in drift.statistics if one.alert]
    name = f"{drift.model}, version {drift.version}"
    if changed:
        lines = [f"**The images or answers of {escape(name)} have changed.**"]
        lines += [f"- {_describe_alert(one)}" for one in changed]
        lines.append(
            "\nLook at recent images in History. If they are what the model is meant for, correct "
            "wrong answers and teach the model again; otherwise find out where they come from."
        )
        st.warning("\n".join(lines), icon=":material/warning:")
    elif drift.images <= MIN_IMAGES:
        st.info(
            f"{count(drift.images, 'image', 'images')} of {escape(name)} so far. The first "
            f"{MIN_IMAGES} are the reference; later ones are compared with them.",
            icon=":material/hourglass_top:",
        )
    else:
        st.success(f"No change of {escape(name)} found.", icon=":material/check_circle:")


def _describe_alert(one: DriftStatistic) -> str:
    since = ""
    if one.since is not None:
        since = f" Found on {one.since.astimezone(_time_zone()):%d %b %Y, %H:%M}."
    return f"**{KINDS[one.name].name}** {direction(one)}: {describe(one)}{since}"


def _show_charts(drift: Drift) -> None:
    shown = [one for one in drift.statistics if one.name != "labels" and one.images]
    for start in range(0, len(shown), 2):
        for column, one in zip(st.columns(2), shown[start : start + 2], strict=False):
            with column:
                _show_chart(drift, one)


def _show_chart(drift: Drift, one: DriftStatistic) -> None:
    kind = KINDS[one.name]
    st.header(kind.name, anchor=False)
    st.markdown(describe(one))
    days = []
    for day in reversed(drift.days):
        value, low, high = kind.by_day(day), None, None
        if value is None:
            continue
        if one.name == "error_rate" and day.accuracy_low is not None:
            low, high = 1 - (day.accuracy_high or 1.0), 1 - day.accuracy_low
        days.append((day.day, value, low, high, f"{kind.format(value)} of {day.images:,} images"))
    if days:
        text = "; ".join(f"{day}: {shown}" for day, *_, shown in days)
        chart = day_chart(days, kind.axis_format, one.reference, one.calibration)
        st.altair_chart(chart, alt=f"{kind.name} by day. {text}")


def _show_labels(drift: Drift) -> None:
    labels = next((one for one in drift.statistics if one.name == "labels"), None)
    if labels is None:
        return
    st.header("Labels", anchor=False)
    st.markdown(describe(labels))
    rows = [(one.label, one.reference, one.value) for one in drift.labels[:MAX_CHANGED_LABELS]]
    if not rows:
        return
    text = "; ".join(
        f"{label}: {percent(before)} in the reference, {percent(now)} now"
        for label, before, now in rows
    )
    chart = pair_chart(rows, names=("Reference", "Now"))
    st.altair_chart(chart, alt=f"Labels that changed most. {text}")


def _show_method(drift: Drift) -> None:
    with st.expander("How changes are found", icon=":material/help:"):
        size = count(drift.reference_images, "image", "images")
        st.markdown(
            f"The reference is the first {size} of this version (dashed line). Later images are "
            "compared with it one by one. While nothing changes, a model has at most one false "
            "alert in 30 days on average; many images of one person in a row can cause more. An "
            "alert ends after 500 images without a new sign of a change. Dotted lines are "
            "values measured on the test images of the model."
        )


def _time_zone() -> ZoneInfo:
    """Return the time zone of the user's browser, else UTC."""
    try:
        return ZoneInfo(st.context.timezone or "UTC")
    except (ZoneInfoNotFoundError, ValueError, OSError):  # OSError: the name of a folder of zones
        return ZoneInfo("UTC")


show_page()
