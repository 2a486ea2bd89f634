"""The sidebar: which model answers, what is known of it, and which backend runs it."""

import streamlit as st

from client import Calibration, ModelInfo
from frontend.service import session
from frontend.service.session import CHOICE, COVERAGE, Service
from frontend.state import url_state
from frontend.ui import formatting
from frontend.ui.formatting import percent, plain


def show() -> None:
    """Offer the served models; without a backend there is nothing to offer."""
    service = session.current()
    if not isinstance(service, Service):
        return
    models = {model.name: model for model in service.models.models}
    wanted = url_state.get(CHOICE)
    st.session_state[CHOICE] = service.model.name
    with st.sidebar:
        st.selectbox(
            "Model",
            list(models),
            format_func=lambda name: _titled(models[name]),
            key=CHOICE,
            on_change=_choose,
            args=(CHOICE,),
        )
        if wanted is not None and wanted not in models:
            st.warning(f"The backend does not serve a model {plain(wanted)!r}.")
        model = service.model
        if model.description:
            st.caption(plain(model.description))
        if accuracy := model.metrics.get("test_accuracy"):
            st.caption(f"Right on {plain(percent(accuracy))} of its test pictures.")
        if (error := model.metrics.get("test_ece")) is not None:
            st.caption(plain(formatting.calibration(error)))
        if model.calibration and model.calibration.mean_set_size:
            _offer_coverage(model.calibration, service.coverage)
        st.caption(formatting.escaped(f"Backend: {service.address}"))


def _offer_coverage(calibration: Calibration, chosen: float | None) -> None:
    st.session_state[COVERAGE] = chosen
    st.radio(
        "Coverage",
        sorted(calibration.mean_set_size),
        format_func=formatting.level,
        key=COVERAGE,
        horizontal=True,
        on_change=_choose,
        args=(COVERAGE,),
    )
    st.caption(
        f"The labels named hold the right one for about {100 * (chosen or 0):g} of 100 pictures; "
        "more coverage names more labels."
    )


def _choose(key: str) -> None:
    url_state.put(key, str(st.session_state[key]))


def _titled(model: ModelInfo) -> str:
    """Name a model, with its state where that keeps it from answering."""
    state = {"ready": "", "loading": " (loading)", "failed": " (failed)"}
    return model.title + state[model.state]
