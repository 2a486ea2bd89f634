"""The Draw page."""

import streamlit as st

from client import Classification, ClientError
from frontend.service import errors, feedback, session
from frontend.service.predictions import ImageFile, Outcome
from frontend.service.session import Service
from frontend.ui import alerts, classification
from frontend.ui.alerts import Problem
from frontend.ui.bar_order import FixedBars
from frontend.ui.components import drawing_pad
from frontend.views.draw import pad_drawings
from frontend.views.draw.pad_drawings import PadDrawings

PAD_KEY = "pad"
_BARS = "bars of the drawing"


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
    drawings = pad_drawings.current()
    drawing = drawing_pad.drawing(PAD_KEY)
    drawings.begin(drawing.id)
    image = ImageFile("drawing.png", drawing.png) if drawing.png else None
    outcome = None
    if isinstance(service, Service):
        outcome = drawings.classify(service.client, service.request, image)
        if drawing.is_finished:
            drawings.finish()
    left, right = st.columns(2, gap="medium")
    with left:
        announcement = _announcement(service, outcome)
        drawing_pad.show(PAD_KEY, has_drawing=image is not None, announcement=announcement)
    with right:
        if isinstance(service, Problem):
            session.show_problem(service)
        elif outcome is None:
            st.info("The prediction appears here.", icon=":material/draw:")
        elif isinstance(outcome, ClientError):
            alerts.show(errors.describe(outcome))
        else:
            bars = st.session_state.setdefault(_BARS, FixedBars())
            classification.show_headline(outcome, service.model)
            if service.store and drawings.has_history is not False:
                _show_feedback(service, outcome, drawings)
            classification.show_details(outcome, service.model, key=PAD_KEY, fixed_bars=bars)
            classification.show_model_input(outcome)


def _show_feedback(service: Service, outcome: Classification, drawings: PadDrawings) -> None:
    """Show the feedback buttons; the first feedback stores the drawing."""
    target = feedback.target_of(service, outcome, drawings.store)
    if target is not None:
        feedback.show(target, drawings.corrections, PAD_KEY)


def _announcement(service: Service | Problem, outcome: Outcome | None) -> str:
    """Return the text that screen readers read after a stroke."""
    if isinstance(service, Problem):
        return service.message
    if outcome is None:
        return ""
    return classification.as_text(errors.describe_outcome(outcome), service.model)


show_page()
