"""What to do about an image that does not show one of the model's classes."""

from collections.abc import Sequence

import streamlit as st

from client import ModelInfo, Models
from frontend.service.predictions import PredictionRequest
from frontend.service.session import MODEL_PARAM, Service
from frontend.state import url_state
from frontend.ui.alerts import Problem
from frontend.ui.formatting import escape

MAX_MODELS = 3
_SUBJECTS = {"digit": "one digit", "image": "one object"}


def other_models(models: Models, request: PredictionRequest) -> list[ModelInfo]:
    """Return ready models with other labels than those that rejected the image, at most MAX_MODELS.

    The models of the automatic choice come first. Of models with the same labels, only the first
    is returned.
    """
    asked = request.members or (request.model,)
    known = {frozenset(model.labels) for model in asked}
    found = []
    for model in sorted(models.models, key=lambda model: model.name not in models.auto):
        labels = frozenset(model.labels)
        if model.state == "ready" and labels not in known:
            known.add(labels)
            found.append(model)
    return found[:MAX_MODELS]


def show(service: Service | Problem, request: PredictionRequest, *, is_batch: bool = False) -> None:
    """Show advice for a rejected image or, in a batch, for all of them; and models to try."""
    models = other_models(service.models, request) if isinstance(service, Service) else []
    subject = _SUBJECTS.get(request.model.input.kind, "one object or digit")
    if is_batch:
        otherwise = ", or try another model" if models else ""
        st.markdown(f"If an image was not recognized, crop it to {subject}{otherwise}.")
    else:
        otherwise = "try another model" if models else "choose another image"
        st.markdown(f"Crop the image to {subject}, or {otherwise}.")
    if models:
        _show_buttons(models, service.models.auto if isinstance(service, Service) else ())


def _show_buttons(models: Sequence[ModelInfo], automatic: Sequence[str]) -> None:
    with st.container(horizontal=True, gap="small"):
        for model in models:
            st.button(
                escape(f"Try {_name(model, automatic)}"),
                icon=":material/swap_horiz:",
                key=f"try {model.name}",
                on_click=url_state.put,
                args=(MODEL_PARAM, model.name),
            )


def _name(model: ModelInfo, automatic: Sequence[str]) -> str:
    """Return what users call the model: those of the automatic choice are named by their input."""
    names = {"digit": "the digit model", "image": "the photo model"}
    return names.get(model.input.kind, model.title) if model.name in automatic else model.title
