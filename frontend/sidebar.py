"""The sidebar: which model answers, what is known of it, and which backend runs it."""

import streamlit as st

from client import ModelInfo
from frontend import serving
from frontend.serving import CHOICE, Service
from frontend.words import percent, plain

_KEPT = "model kept"  # a widget's own state is dropped while the backend is away


def show() -> None:
    """Offer the served models; without a backend there is nothing to offer."""
    service = serving.current()
    if not isinstance(service, Service):
        return
    models = {model.name: model for model in service.models.models}
    wanted = st.session_state.get(CHOICE, st.session_state.get(_KEPT))
    st.session_state[CHOICE] = wanted if wanted in models else service.model.name
    with st.sidebar:
        st.selectbox(
            "Model", list(models), format_func=lambda name: _titled(models[name]), key=CHOICE
        )
        model = models[st.session_state[CHOICE]]
        st.session_state[_KEPT] = model.name
        if model.description:
            st.caption(plain(model.description))
        if accuracy := model.metrics.get("test_accuracy"):
            st.caption(f"Right on {plain(percent(accuracy))} of its test pictures.")
        st.caption(plain(f"Backend: {service.address}"))


def _titled(model: ModelInfo) -> str:
    """Name a model, with its state where that keeps it from answering."""
    state = {"ready": "", "loading": " (loading)", "failed": " (failed)"}
    return model.title + state[model.state]
