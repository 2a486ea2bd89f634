"""The shadow of a taught model: a version that is compared with the active one on live images."""

from functools import partial

import streamlit as st

from client import Client, ClientError, ModelVersion, Shadow
from frontend.service import errors
from frontend.ui import alerts
from frontend.ui.formatting import count, escape, percent
from frontend.views.teach import change
from frontend.views.teach.again import describe_test

SHARES = (1.0, 0.5, 0.2, 0.1)  # of the images


def find(client: Client, name: str) -> Shadow | None:
    """Return the shadow of a model; show a problem if it cannot be read."""
    try:
        return client.shadow(name)
    except ClientError as error:
        alerts.show(errors.describe_model_error(error), key="shadow")
        return None


def show_start(client: Client, version: ModelVersion) -> None:
    """Show the popover that starts a shadow."""
    key = f"{version.name} {version.version}"
    with st.popover("Shadow", icon=":material/compare:", key=f"open shadow {key}"):
        st.markdown(
            f"Version {version.version} classifies a share of the images that are sent to "
            f"{escape(version.name)}, when the backend has time. Its answers are compared, not "
            "returned."
        )
        share = st.selectbox("Share of the images", SHARES, format_func=percent, key=f"share {key}")
        st.button(
            "Start shadow",
            key=f"shadow {key}",
            type="primary",
            on_click=start,
            args=(client, version.name, version.version, share),
        )


def start(client: Client, name: str, version: int, share: float = 1.0) -> None:
    """Start a shadow."""
    change.run(
        partial(client.set_shadow, name, version, share),
        f"Version {version} of {name} is compared with the active version.",
    )


def show(client: Client, shadow: Shadow) -> None:
    """Show the comparison and the button that ends it, inside the version's box."""
    st.markdown(
        f"Compared with version {shadow.active} on "
        f"{count(shadow.images, 'image', 'images')} since "
        f"{shadow.since.astimezone():%Y-%m-%d %H:%M} ({percent(shadow.share)} of all images)."
    )
    if shadow.images:
        _show_figures(shadow)
    else:
        st.caption("No image has been compared yet. Classify some, then refresh.")
    with st.container(horizontal=True):
        st.button("Refresh", icon=":material/refresh:", key="refresh shadow")
        st.button(
            "Stop shadow",
            icon=":material/stop_circle:",
            on_click=change.run,
            args=(partial(client.remove_shadow, shadow.model), "The shadow is stopped."),
        )


def _show_figures(shadow: Shadow) -> None:
    agreement = shadow.agreement
    with st.container(horizontal=True, gap="medium"):
        if agreement.value is not None:
            st.metric("Same prediction", percent(agreement.value), width="content")
        for name, medians, form in (
            ("Confidence", shadow.confidence, percent),
            ("Time", shadow.milliseconds, "{:.1f} ms".format),
        ):
            if medians.active is not None and medians.shadow is not None:
                st.metric(
                    f"{name} ({shadow.version} / {shadow.active})",
                    f"{form(medians.shadow)} / {form(medians.active)}",
                    help="The medians of this version and of the active one on the same images.",
                    width="content",
                )
    if agreement.low is not None and agreement.high is not None:
        st.caption(
            f"95% interval of the same prediction: {percent(agreement.low)} to "
            f"{percent(agreement.high)}."
        )
    corrected = shadow.corrected
    if not corrected.images:
        st.markdown(
            "None of these answers was checked. Confirm or correct some on History to see which "
            "version is right more often."
        )
        return
    text = describe_test(
        f"version {shadow.active}",
        corrected.only_active_right,
        f"version {shadow.version}",
        corrected.only_shadow_right,
        corrected.p_value,
    )
    checked = count(corrected.images, "answer was checked", "answers were checked")
    st.markdown(
        escape(
            f"{checked}: both right {corrected.both_right:,}, both wrong "
            f"{corrected.both_wrong:,}. {text}"
        )
    )
