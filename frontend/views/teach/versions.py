"""The taught models of the backend and their versions: activate, shadow, delete, export."""

from functools import partial
from typing import Final

import streamlit as st

from client import Client, ClientError, ModelVersion, ModelVersions, Shadow
from frontend.datasets.training_set import TrainingSet
from frontend.service import errors, teaching
from frontend.service.session import Service
from frontend.state.downloads import Download, downloads
from frontend.ui import alerts
from frontend.ui.formatting import count, escape, percent
from frontend.views.teach import again, change, shadow
from frontend.views.teach.again_job import AgainRun

MAX_SHOWN: Final = 50  # versions of one model
_MODEL = "taught model"
_URL = "export URL"


def show(service: Service, images: TrainingSet | None) -> None:
    """Show the versions of one taught model; nothing where none is served."""
    change.show_message()
    names = [model.name for model in teaching.taught_models(service.models)]
    if not names and not change.has_problem():
        return
    st.header("Taught models", anchor=False)
    change.show_problem()
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
    taught = again.show(service, versions, images)
    st.subheader("Versions", anchor=False)
    current = shadow.find(service.client, name)
    ordered = sorted(versions.versions, key=lambda one: -one.version)
    for version in ordered[:MAX_SHOWN]:
        _show_version(service, versions, version, current, taught)
    if len(ordered) > MAX_SHOWN:
        st.caption(f"And {count(len(ordered) - MAX_SHOWN, 'older version', 'older versions')}.")
    _show_actions(service.client, versions)


def _show_version(
    service: Service,
    versions: ModelVersions,
    version: ModelVersion,
    current: Shadow | None,
    taught: AgainRun | None,
) -> None:
    is_shadow = current is not None and current.version == version.version
    with st.container(border=True):
        badge = " :green-badge[:material/check_circle: Active]" if version.active else ""
        badge += " :blue-badge[:material/compare: Shadow]" if is_shadow else ""
        is_new = taught is not None and taught.is_taught and taught.new == version.version
        badge += " :blue-badge[New]" if is_new else ""
        st.markdown(f"**Version {version.version}**{badge}")
        facts = [version.created.astimezone().strftime("%Y-%m-%d %H:%M")]
        facts += [f"by {version.author}"] if version.author else []
        facts += [count(len(version.labels), "class", "classes")]
        accuracy = teaching.accuracy(version)
        facts += [f"{percent(accuracy)} accuracy"] if accuracy is not None else []
        st.caption(escape(" · ".join(facts)))
        if version.reason:
            st.markdown(escape(version.reason))
        if current is not None and is_shadow:
            shadow.show(service.client, current)
        if not version.active:
            _show_changes(service, versions, version, is_shadow=is_shadow)


def _show_changes(
    service: Service, versions: ModelVersions, version: ModelVersion, *, is_shadow: bool
) -> None:
    client = service.client
    key = f"{version.name} {version.version}"
    is_previous = version.version == versions.previous
    active = next((one for one in versions.versions if one.active), None)
    with st.container(horizontal=True):
        st.button(
            "Roll back" if is_previous else "Activate",
            icon=":material/undo:" if is_previous else ":material/play_arrow:",
            key=f"activate {key}",
            help="Serve the version again that was active before." if is_previous else None,
            on_click=change.run,
            args=(
                partial(client.activate, version.name, version.version),
                f"Version {version.version} of {version.name} is active.",
            ),
        )
        if active is not None:
            if not is_shadow:
                shadow.show_start(client, version)
            st.button(
                "Compare",
                icon=":material/balance:",
                key=f"compare {key}",
                help=f"Compare it with version {active.version} on held-out checked images.",
                on_click=again.start_comparison,
                args=(service, active, version.version),
            )
        with st.popover("Delete", icon=":material/delete:", key=f"open delete {key}"):
            st.markdown(f"This deletes version {version.version}. It cannot be undone.")
            st.button(
                "Delete this version",
                key=f"delete {key}",
                type="primary",
                on_click=change.run,
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
                on_click=change.run,
                args=(partial(client.delete_model, name), f"{name} deleted."),
            )


def _export_url(client: Client, name: str) -> str:
    """Return the URL of the export, the same one in every run of the page until it expires."""
    stored: tuple[str, str] = st.session_state.get(_URL, ("", ""))
    key = f"{client.url} {name}"
    if stored[0] != key or downloads.find(stored[1].rpartition("/")[2]) is None:
        chunks = partial(teaching.export, client, name)
        stored = (key, downloads.put(Download(f"{name}-onnx.zip", "application/zip", chunks)))
        st.session_state[_URL] = stored
    return stored[1]
