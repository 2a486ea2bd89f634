"""Serve a taught model: upload it, show how to use it, download it."""

import streamlit as st

from client import Client, ClientError, ModelVersion
from frontend.service import code_examples, errors, teaching
from frontend.service.session import MODEL_PARAM, Service
from frontend.state import url_state
from frontend.ui import alerts
from frontend.ui.alerts import Problem
from frontend.ui.formatting import count, escape
from frontend.views.teach.teaching_job import TeachingRun

CLASSIFY = "views/classify/page.py"
_PROBLEM = "teach serve problem"
_REASON = "teach reason"


def show(service: Service | Problem, run: TeachingRun) -> None:
    """Show the upload, and after it the model's address."""
    if run.model is None:
        return
    st.header("Serve", anchor=False)
    if problem := st.session_state.pop(_PROBLEM, None):
        alerts.show(problem, key="serve")
    if run.served is not None:
        _show_served(service, run.served)
    elif isinstance(service, Service):
        _show_upload(service, run)
    else:
        st.info("The model can be served when the backend is available again.")
    _show_download(run)


def _show_upload(service: Service, run: TeachingRun) -> None:
    if service.models.get(run.name) is not None:
        st.markdown(
            f"This replaces the version of `{run.name}` that is served now. You can go back to it "
            "at any time. *Store only* keeps the served version, so that you can compare both."
        )
    st.text_input(
        "What has changed (optional)",
        key=_REASON,
        max_chars=200,
        placeholder="For example: ten more images of bees",
    )
    with st.container(horizontal=True):
        st.button(
            "Serve this model",
            icon=":material/rocket_launch:",
            type="primary",
            on_click=_upload,
            args=(service.client, run),
        )
        if service.models.get(run.name) is not None:
            st.button(
                "Store only",
                icon=":material/save:",
                on_click=_upload,
                args=(service.client, run),
                kwargs={"activate": False},
            )


def _upload(client: Client, run: TeachingRun, *, activate: bool = True) -> None:
    if run.model is None or run.served is not None:
        return
    reason = str(st.session_state.get(_REASON) or "").strip() or None
    try:
        run.served = teaching.upload(client, run.name, run.model, reason, activate=activate)
    except ClientError as error:
        st.session_state[_PROBLEM] = errors.describe_model_error(error)


def _show_served(service: Service | Problem, served: ModelVersion) -> None:
    if not served.active:
        text = f"Version {served.version} of {served.name} is stored. It is not served yet."
        st.success(escape(f"{text} See Taught models."), icon=":material/save:")
        return
    labels = count(len(served.labels), "class", "classes")
    st.success(
        escape(f"The model {served.name} is served: version {served.version}, {labels}."),
        icon=":material/check_circle:",
    )
    if not isinstance(service, Service):
        return
    if st.button("Try it on Classify", icon=":material/image_search:", type="primary"):
        url_state.put(MODEL_PARAM, served.name)
        st.switch_page(CLASSIFY)
    st.markdown("Classify an image from the command line:")
    code_examples.show_commands(service.client.url, served.name, "image.jpg", has_python=False)


def _show_download(run: TeachingRun) -> None:
    if run.model is None:
        return
    st.download_button(
        "Download the model",
        data=teaching.zip_folder(run.name, run.model),
        file_name=f"{run.name}.zip",
        mime="application/zip",
        icon=":material/download:",
        on_click="ignore",
        key="download taught model",
    )
    st.caption(
        "The folder of the model: manifest, head and model card. It also works in the models "
        "folder of another backend with the same photo model. The head contains features of the "
        "training images: share it only where you could share the images."
    )
