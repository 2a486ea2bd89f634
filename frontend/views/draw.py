"""The page to draw on."""

import streamlit as st

from client import ClientError
from frontend import answers, asking, notices, problems, serving
from frontend.asking import Outcome
from frontend.components import drawing_pad
from frontend.pictures import Picture
from frontend.problems import Problem
from frontend.serving import Service

PAD = "pad"
SENT_WIDTH = 96


def page() -> None:
    """Show the page."""
    service = serving.ready()
    drawing = drawing_pad.drawing(PAD)
    picture = Picture("drawing.png", drawing.png) if drawing.png else None
    outcome = _ask(service, picture)
    st.title("Draw", anchor=False)
    if isinstance(service, Service) and service.model.input.kind != "digit":
        st.markdown("Draw something; this model was not made for drawings of digits.")
    else:
        st.markdown("Draw one digit, large. The answer comes after every stroke.")
    left, right = st.columns(2, gap="medium")
    with left:
        drawing_pad.show(PAD, drawing, says=_said(service, outcome))
    with right:
        _show(service, picture, outcome)


def _ask(service: Service | Problem, picture: Picture | None) -> Outcome | None:
    if picture is None or not isinstance(service, Service):
        return None
    return asking.ask(service.client, service.question, [picture], serving.memory())[0]


def _said(service: Service | Problem, outcome: Outcome | None) -> str:
    """Return what a screen reader is told after a stroke."""
    if isinstance(service, Problem):
        return service.what
    if outcome is None:
        return ""
    return answers.said(outcome, service.model)


def _show(service: Service | Problem, picture: Picture | None, outcome: Outcome | None) -> None:
    if isinstance(service, Problem):
        notices.show_service(service)
    elif picture is None or outcome is None:
        st.info("The answer will appear here.", icon=":material/draw:")
    elif isinstance(outcome, ClientError):
        notices.show(problems.of(outcome))
    else:
        answers.show_words(outcome, service.model)
        answers.show_figures(outcome, service.model)
        with st.container(border=True, width="content"):
            st.image(picture.content, width=SENT_WIDTH, alt="The drawing as the model was sent it")
            st.caption("What the model was sent")


page()
