"""The Draw page."""

from dataclasses import replace

import streamlit as st

from client import ClientError
from frontend.datasets.selections import ImageSelection, SelectionStore
from frontend.service import errors, feedback, predictions, session
from frontend.service.predictions import ImageFile, Outcome, PredictionCache
from frontend.service.session import Service
from frontend.state import url_state
from frontend.ui import alerts, classification
from frontend.ui.alerts import Problem
from frontend.ui.components import drawing_pad

PAD_KEY = "pad"
DRAWINGS_PARAM = "drawings"  # in the URL: the outcomes and feedback of this pad's drawings
CACHE_SIZE = 200  # drawings of one pad


def show_page() -> None:
    """Show the page."""
    service = session.ready()
    st.title("Draw", anchor=False)
    if isinstance(service, Service) and service.model.input.kind != "digit":
        st.markdown("Draw something. This model was not trained on drawings of digits.")
    else:
        st.markdown("Draw one large digit. It is classified after every stroke.")
    _show_drawing(service)


@st.fragment  # a stroke reruns neither the sidebar nor the request for the served models
def _show_drawing(service: Service | Problem) -> None:
    png = drawing_pad.drawing(PAD_KEY)
    image = ImageFile("drawing.png", png) if png else None
    outcome = _classify(service, image)
    left, right = st.columns(2, gap="medium")
    with left:
        announcement = _announcement(service, outcome)
        drawing_pad.show(PAD_KEY, has_drawing=png is not None, announcement=announcement)
    with right:
        if isinstance(service, Problem):
            session.show_problem(service)
        elif outcome is None:
            st.info("The prediction appears here.", icon=":material/draw:")
        elif isinstance(outcome, ClientError):
            alerts.show(errors.describe(outcome))
        else:
            classification.show_headline(outcome, service.model)
            classification.show_details(outcome, service.model, key=PAD_KEY)
            classification.show_model_input(outcome)
            if (target := feedback.target_of(service, outcome)) is not None:
                feedback.show(target, _drawings().corrections, PAD_KEY)


@st.cache_resource(show_spinner=False)
def _store() -> SelectionStore:
    return SelectionStore()


def _drawings() -> ImageSelection:
    """Return the outcomes and feedback of this pad's drawings, which persist across a reload."""
    drawings = _store().find(url_state.get(DRAWINGS_PARAM))
    if drawings is None:
        drawings = ImageSelection((), PredictionCache(CACHE_SIZE))
        _store().put(drawings)
        url_state.put(DRAWINGS_PARAM, drawings.token)
    return drawings


def _classify(service: Service | Problem, image: ImageFile | None) -> Outcome | None:
    if image is None or not isinstance(service, Service):
        return None
    request = replace(service.request, model_input=True)
    return predictions.classify(service.client, request, [image], _drawings().cache)[0]


def _announcement(service: Service | Problem, outcome: Outcome | None) -> str:
    """Return the text that screen readers read after a stroke."""
    if isinstance(service, Problem):
        return service.message
    if outcome is None:
        return ""
    return classification.as_text(errors.describe_outcome(outcome), service.model)


show_page()
