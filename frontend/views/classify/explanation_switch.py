"""The switch that shows what decided: a heat map over the image."""

import streamlit as st

from client import Classification, ClientError, Explanation
from frontend.service import errors
from frontend.service.predictions import ImageFile
from frontend.service.session import Service
from frontend.state import url_state
from frontend.ui import alerts, classification, explanation
from frontend.ui.alerts import Problem

EXPLAIN_PARAM = "explain"
_ON = "on"
_NO_TIME = Problem(
    "The explanation was not ready in time.", "The service is busy. Try again in a moment."
)


def show(service: Service, image: ImageFile, result: Classification) -> None:
    """Show the image, with the heat map if it is switched on, and the switch."""
    is_on = url_state.get(EXPLAIN_PARAM) == _ON
    found = _fetch(service, image, result) if is_on and image.preview else None
    if isinstance(found, Explanation) and image.preview:
        drawn = explanation.overlay(image.preview, found)
        alt = f"The image {image.name}. {explanation.describe(found)}"
        classification.show_image(image.name, drawn, classification.IMAGE_WIDTH, alt)
        st.caption(explanation.caption(found))
    else:
        classification.show_image(image.name, image.preview, classification.IMAGE_WIDTH)
    st.session_state[EXPLAIN_PARAM] = is_on
    st.toggle(
        "Show what decided",
        key=EXPLAIN_PARAM,
        help="Colors the parts of the image that influenced the label most. Takes a moment.",
        on_change=_put_choice,
    )
    if isinstance(found, Problem):
        alerts.show(found)


def _put_choice() -> None:
    url_state.put(EXPLAIN_PARAM, _ON if st.session_state[EXPLAIN_PARAM] else None)


def _fetch(service: Service, image: ImageFile, result: Classification) -> Explanation | Problem:
    """Return the explanation by the model that classified the image, or why there is none."""
    model = result.model
    try:
        with st.spinner("Explaining…", show_time=False):
            return _explain(service, image, image.digest, model.name, model.version)
    except ClientError as error:
        return errors.describe(error)
    except LookupError:
        return _NO_TIME


@st.cache_data(show_spinner=False, max_entries=200)
def _explain(
    _service: Service, _image: ImageFile, digest: str, model: str, version: str
) -> Explanation:
    """Return the explanation; raise LookupError, which is not cached, if there was no time."""
    classified = _service.client.classify(
        _image.content, filename=_image.name, model=model, top_k=1, explain=True, store=False
    )
    if classified.explanation is None:
        raise LookupError
    return classified.explanation
