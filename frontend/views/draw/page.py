"""The page to draw on."""

from dataclasses import replace

import streamlit as st

from client import ClientError
from frontend.datasets.images import Picture
from frontend.datasets.selections import Batch, Batches
from frontend.service import errors, predictions, session
from frontend.service.errors import Problem
from frontend.service.predictions import Memory, Outcome
from frontend.service.session import Service
from frontend.state import url_state
from frontend.ui import alerts, classification, feedback
from frontend.ui.components import drawing_pad

PAD = "pad"
TOLD = "drawings"  # in the address: what was told of the drawings of this pad
MOST_TOLD = 200  # drawings, of one pad


def page() -> None:
    """Show the page."""
    service = session.ready()
    st.title("Draw", anchor=False)
    if isinstance(service, Service) and service.model.input.kind != "digit":
        st.markdown("Draw something; this model was not made for drawings of digits.")
    else:
        st.markdown("Draw one digit, large. The answer comes after every stroke.")
    _show(service)


@st.fragment  # the sidebar, and what the backend serves, are not asked for at every stroke
def _show(service: Service | Problem) -> None:
    png = drawing_pad.drawing(PAD)
    picture = Picture("drawing.png", png) if png else None
    outcome = _ask(service, picture)
    left, right = st.columns(2, gap="medium")
    with left:
        drawing_pad.show(PAD, drawn=png is not None, says=_said(service, outcome))
    with right:
        if isinstance(service, Problem):
            alerts.show_service(service)
        elif outcome is None:
            st.info("The answer will appear here.", icon=":material/draw:")
        elif isinstance(outcome, ClientError):
            alerts.show(errors.of(outcome))
        else:
            classification.show_words(outcome, service.model)
            classification.show_figures(outcome, service.model, key=PAD)
            classification.show_seen(outcome)
            if (subject := feedback.subject_of(service, outcome)) is not None:
                feedback.show(subject, _told().corrections, PAD)


@st.cache_resource(show_spinner=False)
def _pads() -> Batches:
    return Batches()


def _told() -> Batch:
    """Return what was told of the drawings of this pad; it outlives a reload."""
    told = _pads().find(url_state.get(TOLD))
    if told is None:
        told = Batch((), Memory(MOST_TOLD))
        _pads().put(told)
        url_state.put(TOLD, told.token)
    return told


def _ask(service: Service | Problem, picture: Picture | None) -> Outcome | None:
    if picture is None or not isinstance(service, Service):
        return None
    question = replace(service.question, model_input=True)
    return predictions.ask(service.client, question, [picture], _told().memory)[0]


def _said(service: Service | Problem, outcome: Outcome | None) -> str:
    """Return what a screen reader is told after a stroke."""
    if isinstance(service, Problem):
        return service.what
    if outcome is None:
        return ""
    return classification.said(outcome, service.model)


page()
