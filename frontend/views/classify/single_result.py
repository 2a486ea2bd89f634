"""The result of one image: its prediction, feedback, probabilities, and code."""

import streamlit as st

from client import Classification, ClientError
from frontend.datasets.selections import ImageSelection
from frontend.service import code_examples, errors, feedback
from frontend.service.predictions import PredictionRequest
from frontend.service.session import Service
from frontend.ui import alerts, classification
from frontend.ui.alerts import Problem
from frontend.views.classify import explanation_switch, next_steps
from frontend.views.classify.results_table import Result


def show(
    service: Service | Problem,
    selection: ImageSelection,
    request: PredictionRequest,
    result: Result,
    *,
    is_fragment: bool = False,
) -> None:
    """Show the result of one image.

    On a phone, the headline and the feedback follow the image. `is_fragment` is whether the caller
    runs as a fragment of the page.
    """
    image, outcome = result.image, result.outcome
    left, right = st.columns([2, 3], gap="medium")
    with left, st.container(key="preview"):  # page.css has a rule for this key
        if (
            isinstance(service, Service)
            and isinstance(outcome, Classification)
            and outcome.in_distribution is not False
            and not is_fragment
        ):
            explanation_switch.show(service, image, outcome)
        else:
            classification.show_image(image.name, image.preview, classification.IMAGE_WIDTH)
    with right:
        if isinstance(outcome, ClientError):
            alerts.show(errors.describe(outcome))
            return
        model = request.model_of(outcome)
        classification.show_headline(outcome, model)
        classification.show_model_name(model, is_automatic=bool(request.members))
        if outcome.in_distribution is False:
            next_steps.show(service, request)
        show_feedback(service, selection, outcome, "single", is_fragment=is_fragment)
        classification.show_details(outcome, model, key="single")
    classification.show_model_input(outcome)
    if isinstance(service, Service):
        code_examples.show(service, image.name, outcome.id)


def show_feedback(
    service: Service | Problem,
    selection: ImageSelection,
    outcome: Classification,
    key: str,
    *,
    is_fragment: bool = False,
) -> None:
    """Show the feedback buttons of a classification that is stored."""
    if isinstance(service, Service) and (target := feedback.target_of(service, outcome)):
        show = feedback.show if is_fragment else feedback.show_fragment
        show(target, selection.corrections, key)
