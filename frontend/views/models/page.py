"""The page of the models that are served."""

import streamlit as st

from client import Client, ClientError, ModelInfo
from frontend.service import errors, session
from frontend.service.session import CHOICE, Service
from frontend.state import url_state
from frontend.ui import alerts, formatting
from frontend.ui.alerts import POLL
from frontend.ui.formatting import plain
from frontend.views.models import model_summary

MOST_LABELS = 200  # named on the page; the others are counted
STATES = {
    "ready": ":green-badge[:material/check_circle: Ready]",
    "loading": ":orange-badge[:material/hourglass_top: Loading]",
    "failed": ":red-badge[:material/error: Failed]",
}


def page() -> None:
    """Show the page."""
    st.title("Models", anchor=False)
    service = session.current()
    if not isinstance(service, Service):
        alerts.show_service(service)
        return
    models = service.models.models
    st.markdown(
        f"{formatting.count(len(models), 'model is', 'models are')} served by this backend."
    )
    for model in models:
        _show(service, model)
    if any(model.state == "loading" for model in models):
        _watch([model.state for model in models])


def _show(service: Service, model: ModelInfo) -> None:
    with st.container(border=True):
        st.subheader(plain(model.title), anchor=False)
        is_default = " · answers where none is named" * (model.name == service.models.default)
        version = f" · version {plain(model.version)}" if model.version else ""
        st.markdown(f"{STATES[model.state]} `{model.name}`{version}{is_default}")
        if problem := errors.of_model(model):
            alerts.show(problem, key=f"notice {model.name}")
            return
        if model.description:
            st.markdown(plain(model.description))
        if model.name == service.model.name:
            st.markdown(":material/check: The pages ask this model.")
        else:
            st.button(
                "Use this model",
                key=f"use {model.name}",
                help=f"Let the pages ask {model.title}",
                on_click=url_state.put,
                args=(CHOICE, model.name),
            )
        _show_details(service, model)


def _show_details(service: Service, model: ModelInfo) -> None:
    if headline := list(model_summary.headline(model)):
        for column, (what, figure) in zip(st.columns(len(headline)), headline, strict=True):
            column.metric(what, figure)
    facts = [model_summary.takes(model.input)]
    facts += [f"runs on {model.runtime}"] if model.runtime else []
    facts += [f"licence {model.license}"] if model.license else []
    st.caption(plain(" · ".join(facts)))
    with st.expander(f"{formatting.count(len(model.labels), 'class', 'classes')}"):
        named = ", ".join(map(plain, model.labels[:MOST_LABELS]))
        more = len(model.labels) - MOST_LABELS
        st.markdown(f"{named} and {more} more" if more > 0 else named)
    if measured := list(model_summary.rows(model.metrics)):
        with st.expander("All measured figures"):
            st.markdown(_table(measured))
            if model.calibration:
                st.caption(plain(model_summary.calibrated(model.calibration)))
    _show_card(service, model)


def _show_card(service: Service, model: ModelInfo) -> None:
    try:
        text = _card(service.client.url, model.name, model.version, _client=service.client)
    except ClientError as error:
        alerts.show(errors.of(error), key=f"notice {model.name}")
        return
    if text:
        with st.expander("Model card"):
            st.markdown(model_summary.card(text))


@st.cache_data(show_spinner=False, max_entries=100, ttl=60)
def _card(url: str, name: str, version: str, *, _client: Client) -> str | None:
    return _client.model(name).card


def _table(rows: list[tuple[str, str]]) -> str:
    lines = ["| What was measured | Figure |", "| --- | --- |"]
    return "\n".join([*lines, *(f"| {plain(what)} | {plain(value)} |" for what, value in rows)])


@st.fragment(run_every=POLL)
def _watch(states: list[str]) -> None:
    """Run the page again as soon as a model is loaded, or has failed."""
    session.refresh()
    service = session.current()
    if not isinstance(service, Service) or [m.state for m in service.models.models] != states:
        st.rerun()


page()
