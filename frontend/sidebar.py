"""The sidebar: model, coverage, test figures and the backend's address."""

import streamlit as st

from client import Calibration, ModelInfo
from frontend.service import access, session
from frontend.service.model_choice import AUTO, offered_models
from frontend.service.session import COVERAGE_PARAM, MODEL_PARAM, Service
from frontend.state import url_state
from frontend.ui import formatting, sign_in
from frontend.ui.formatting import escape, percent


def show() -> None:
    """Show the model choice; show nothing without a backend."""
    service = session.current()
    if not isinstance(service, Service):
        return
    models = {model.name: model for model in offered_models(service.models, service.scope)}
    requested = url_state.get(MODEL_PARAM)
    st.session_state[MODEL_PARAM] = service.model.name
    with st.sidebar:
        st.selectbox(
            "Model",
            list(models),
            format_func=lambda name: _title_with_state(models[name]),
            key=MODEL_PARAM,
            on_change=_put_choice,
            args=(MODEL_PARAM,),
        )
        if requested not in (None, AUTO) and service.models.get(requested) is None:
            st.warning(escape(f"The backend does not serve the model “{requested}”."))
        model = service.model
        if model.description:
            st.caption(escape(model.description))
        if accuracy := model.metrics.get("test_accuracy"):
            st.caption(escape(f"Test accuracy: {percent(accuracy)}"))
        if (error := model.metrics.get("test_ece")) is not None:
            st.caption(escape(formatting.calibration_text(error)))
        if model.calibration and model.calibration.mean_set_size:
            _show_coverage(model.calibration, service.coverage)
        st.caption(formatting.escape_copyable(f"Backend: {service.address}"))


def show_account() -> None:
    """Show the user and the sign-out button, or the sign-in button; nothing without a sign-in."""
    if access.has_sign_in():
        with st.sidebar:
            sign_in.show_account(is_signed_in=access.is_signed_in())


def show_model_name() -> None:
    """Show the model on the page itself, on small screens only, where the sidebar is closed."""
    service = session.current()
    if isinstance(service, Service):
        with st.container(key="model_name"):  # page.css hides it on large screens
            st.caption(escape(f"Model: {service.model.title}"))


def _show_coverage(calibration: Calibration, chosen: float | None) -> None:
    st.session_state[COVERAGE_PARAM] = chosen
    st.radio(
        "Coverage",
        sorted(calibration.mean_set_size),
        format_func=formatting.coverage_percent,
        key=COVERAGE_PARAM,
        horizontal=True,
        on_change=_put_choice,
        args=(COVERAGE_PARAM,),
    )
    share = f"{100 * (chosen or 0):g}"
    st.caption(
        f"At {share}% coverage the listed labels include the right one for about {share} of 100 "
        "images. Higher coverage lists more labels."
    )


def _put_choice(key: str) -> None:
    url_state.put(key, str(st.session_state[key]))


def _title_with_state(model: ModelInfo) -> str:
    """Return the title, followed by a state other than ready."""
    state = {"ready": "", "loading": " (loading)", "failed": " (failed)"}
    return model.title + state[model.state]
