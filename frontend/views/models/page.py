"""The Models page."""

import streamlit as st

from client import Client, ClientError, ModelInfo
from frontend.service import errors, session
from frontend.service.model_choice import automatic_choice
from frontend.service.session import MODEL_PARAM, POLL_INTERVAL, Service
from frontend.state import url_state
from frontend.ui import alerts, formatting
from frontend.ui.formatting import escape
from frontend.views.models import model_summary

MAX_LABELS = 200  # listed on the page; the others are counted
STATES = {
    "ready": ":green-badge[:material/check_circle: Ready]",
    "loading": ":orange-badge[:material/hourglass_top: Loading]",
    "failed": ":red-badge[:material/error: Failed]",
}


def show_page() -> None:
    """Show the page."""
    st.title("Models", anchor=False)
    service = session.current()
    if not isinstance(service, Service):
        session.show_problem(service)
        return
    models = service.models.models
    st.markdown(f"This backend serves {formatting.count(len(models), 'model', 'models')}.")
    if automatic := automatic_choice(service.models):
        _show_automatic(service, automatic)
    for model in models:
        _show_model(service, model)
    if any(model.state == "loading" for model in models):
        _watch([model.state for model in models])


def _show_automatic(service: Service, model: ModelInfo) -> None:
    """Show the automatic choice, which is no model of its own."""
    with st.container(border=True):
        st.header(escape(model.title), anchor=False)
        default = " · default" if model.name == service.models.default else ""
        st.markdown(f"{STATES[model.state]} `{model.name}`{default}")
        st.markdown(escape(model.description))
        _show_choice(service, model, f"Use {model.title} on all pages that support it")


def _show_choice(service: Service, model: ModelInfo, tooltip: str) -> None:
    if model.name == service.model.name:
        st.markdown(":material/check: Selected")
        return
    st.button(
        "Use this model",
        key=f"use {model.name}",
        help=tooltip,
        on_click=url_state.put,
        args=(MODEL_PARAM, model.name),
    )


def _show_model(service: Service, model: ModelInfo) -> None:
    with st.container(border=True):
        st.header(escape(model.title), anchor=False)
        version = f" · version {escape(model.version)}" if model.version else ""
        default = " · default" if model.name == service.models.default else ""
        st.markdown(f"{STATES[model.state]} `{model.name}`{version}{default}")
        if problem := errors.describe_model_state(model):
            alerts.show(problem, key=f"notice {model.name}")
            return
        if model.description:
            st.markdown(escape(model.description))
        _show_choice(service, model, f"Use {model.title} on all pages")
        _show_details(service, model)


def _show_details(service: Service, model: ModelInfo) -> None:
    if metrics := list(model_summary.key_metrics(model)):
        for column, (name, value) in zip(st.columns(len(metrics)), metrics, strict=True):
            column.metric(name, value)
    facts = [model_summary.input_text(model.input)]
    facts += ["An image may have several labels"] if model.task == "multi-label" else []
    facts += [text] if (text := model_summary.runtime_text(model)) else []
    facts += [f"License: {model.license}"] if model.license else []
    st.caption(escape(" · ".join(facts)))
    with st.expander(formatting.count(len(model.labels), "class", "classes")):
        labels = ", ".join(map(escape, model.labels[:MAX_LABELS]))
        more = len(model.labels) - MAX_LABELS
        st.markdown(f"{labels} and {more} more" if more > 0 else labels)
    if rows := list(model_summary.metric_rows(model.metrics)):
        with st.expander("All metrics"):
            st.markdown(_markdown_table(rows))
            if model.calibration:
                st.caption(escape(model_summary.calibration_text(model.calibration)))
    _show_card(service, model)


def _show_card(service: Service, model: ModelInfo) -> None:
    try:
        card = _fetch_card(service.client.url, model.name, model.version, _client=service.client)
    except ClientError as error:
        alerts.show(errors.describe(error), key=f"notice {model.name}")
        return
    if card:
        with st.expander("Model card"):
            st.markdown(model_summary.card_markdown(card))


@st.cache_data(show_spinner=False, max_entries=100, ttl=60)
def _fetch_card(url: str, name: str, version: str, *, _client: Client) -> str | None:
    return _client.model(name).card


def _markdown_table(rows: list[tuple[str, str]]) -> str:
    lines = ["| Metric | Value |", "| --- | --- |"]
    return "\n".join([*lines, *(f"| {escape(name)} | {escape(value)} |" for name, value in rows)])


@st.fragment(run_every=POLL_INTERVAL)
def _watch(states: list[str]) -> None:
    """Rerun the page when the state of a model has changed."""
    session.refresh()
    service = session.current()
    if not isinstance(service, Service) or [m.state for m in service.models.models] != states:
        st.rerun()


show_page()
