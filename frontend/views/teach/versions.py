"""The taught models of the backend and their versions: activate, delete, export."""

from collections.abc import Callable
from functools import partial
from typing import Final

import streamlit as st

from client import Client, ClientError, ModelVersion, ModelVersions
from frontend.service import errors, teaching
from frontend.service.session import Service
from frontend.state.downloads import Download, downloads
from frontend.ui import alerts
from frontend.ui.formatting import count, escape, percent

MAX_SHOWN: Final = 50  # versions of one model
_MODEL = "taught model"
_PROBLEM = "taught model problem"
_MESSAGE = "taught model message"
_URL = "export URL"


def show(service: Service) -> None:
    """Show the versions of one taught model; nothing where none is served."""
    if message := st.session_state.pop(_MESSAGE, None):
        st.toast(message)
    names = [model.name for model in teaching.taught_models(service.models)]
    if not names and _PROBLEM not in st.session_state:
        return
    st.header("Taught models", anchor=False)
    if problem := st.session_state.pop(_PROBLEM, None):
        alerts.show(problem, key="versions")
    if not names:
        return
    if service.models.store_is_temporary:
        st.warning(
            "This backend keeps taught models in a temporary folder: they are lost when it "
            "restarts. Download the models that you need, or ask the operator to set "
            "PRISM_MODEL_STORE.",
            icon=":material/warning:",
        )
    name: str = st.selectbox("Taught model", names, key=_MODEL)
    try:
        versions = service.client.versions(name)
    except ClientError as error:
        alerts.show(errors.describe_model_error(error), key="versions of one")
        return
    ordered = sorted(versions.versions, key=lambda one: -one.version)
    for version in ordered[:MAX_SHOWN]:
        _show_version(service.client, version)
    if len(ordered) > MAX_SHOWN:
        st.caption(f"And {count(len(ordered) - MAX_SHOWN, 'older version', 'older versions')}.")
    _show_actions(service.client, versions)


def _show_version(client: Client, version: ModelVersion) -> None:
    with st.container(border=True):
        badge = " :green-badge[:material/check_circle: Active]" if version.active else ""
        st.markdown(f"**Version {version.version}**{badge}")
        facts = [version.created.astimezone().strftime("%Y-%m-%d %H:%M")]
        facts += [f"by {version.author}"] if version.author else []
        facts += [count(len(version.labels), "class", "classes")]
        accuracy = teaching.accuracy(version)
        facts += [f"{percent(accuracy)} accuracy"] if accuracy is not None else []
        st.caption(escape(" · ".join(facts)))
        if version.reason:
            st.markdown(escape(version.reason))
        if version.active:
            return
        key = f"{version.name} {version.version}"
        with st.container(horizontal=True):
            st.button(
                "Activate",
                icon=":material/play_arrow:",
                key=f"activate {key}",
                on_click=_run,
                args=(
                    partial(client.activate, version.name, version.version),
                    f"Version {version.version} of {version.name} is active.",
                ),
            )
            with st.popover("Delete", icon=":material/delete:", key=f"open delete {key}"):
                st.markdown(f"This deletes version {version.version}. It cannot be undone.")
                st.button(
                    "Delete this version",
                    key=f"delete {key}",
                    type="primary",
                    on_click=_run,
                    args=(
                        partial(client.delete_version, version.name, version.version),
                        f"Version {version.version} of {version.name} deleted.",
                    ),
                )


def _show_actions(client: Client, versions: ModelVersions) -> None:
    name = versions.model
    with st.container(horizontal=True):
        st.link_button("Export as ONNX", _export_url(client, name), icon=":material/download:")
        with st.popover("Delete model", icon=":material/delete_forever:"):
            number = count(len(versions.versions), "version", "versions")
            st.markdown(f"This deletes {escape(name)} with its {number}. It cannot be undone.")
            st.button(
                f"Delete {escape(name)}",
                key=f"delete {name}",
                type="primary",
                on_click=_run,
                args=(partial(client.delete_model, name), f"{name} deleted."),
            )


def _run(change: Callable[[], object], message: str) -> None:
    """Change a model; keep the message, or the problem."""
    try:
        change()
    except ClientError as error:
        st.session_state[_PROBLEM] = errors.describe_model_error(error)
    else:
        st.session_state[_MESSAGE] = escape(message)


def _export_url(client: Client, name: str) -> str:
    """Return the URL of the export, the same one in every run of the page until it expires."""
    stored: tuple[str, str] = st.session_state.get(_URL, ("", ""))
    key = f"{client.url} {name}"
    if stored[0] != key or downloads.find(stored[1].rpartition("/")[2]) is None:
        chunks = partial(teaching.export, client, name)
        stored = (key, downloads.put(Download(f"{name}-onnx.zip", "application/zip", chunks)))
        st.session_state[_URL] = stored
    return stored[1]
