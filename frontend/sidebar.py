"""The sidebar: which model answers, what is known of it, and which backend runs it."""

from collections.abc import Collection
from typing import Any

import streamlit as st

from client import Calibration, ModelInfo
from frontend import serving, words
from frontend.serving import CHOICE, COVERAGE, Service
from frontend.words import percent, plain

USUAL_COVERAGE = 0.95


def show() -> None:
    """Offer the served models; without a backend there is nothing to offer."""
    service = serving.current()
    if not isinstance(service, Service):
        return
    models = {model.name: model for model in service.models.models}
    _restore(CHOICE, models, service.model.name)
    with st.sidebar:
        st.selectbox(
            "Model", list(models), format_func=lambda name: _titled(models[name]), key=CHOICE
        )
        model = models[st.session_state[CHOICE]]
        _keep(CHOICE)
        if model.description:
            st.caption(plain(model.description))
        if accuracy := model.metrics.get("test_accuracy"):
            st.caption(f"Right on {plain(percent(accuracy))} of its test pictures.")
        if (error := model.metrics.get("test_ece")) is not None:
            st.caption(plain(words.calibration(error)))
        if model.calibration and model.calibration.mean_set_size:
            _offer_coverage(model.calibration)
        st.caption(plain(f"Backend: {service.address}"))


def _offer_coverage(calibration: Calibration) -> None:
    levels = sorted(calibration.mean_set_size)
    _restore(COVERAGE, levels, USUAL_COVERAGE if USUAL_COVERAGE in levels else levels[0])
    wanted = st.radio("Coverage", levels, format_func=words.level, key=COVERAGE, horizontal=True)
    _keep(COVERAGE)
    st.caption(
        f"The labels named hold the right one for about {100 * wanted:g} of 100 pictures; "
        "more coverage names more labels."
    )


def _restore(key: str, options: Collection[Any], default: Any) -> None:
    """Choose what was chosen last: a widget's own state is dropped while it is not shown."""
    wanted = st.session_state.get(key, st.session_state.get(f"{key} kept"))
    st.session_state[key] = wanted if wanted in options else default


def _keep(key: str) -> None:
    st.session_state[f"{key} kept"] = st.session_state[key]


def _titled(model: ModelInfo) -> str:
    """Name a model, with its state where that keeps it from answering."""
    state = {"ready": "", "loading": " (loading)", "failed": " (failed)"}
    return model.title + state[model.state]
