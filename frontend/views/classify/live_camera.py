"""Live classification of the camera image on the Classify page.

Frames are not stored in the history. *Keep this frame* selects the last classified frame as an
image, which is classified and stored like an upload.
"""

from dataclasses import dataclass, field, replace

import streamlit as st

from client import BackendError, Classification, ClientError, ModelInfo
from frontend.datasets import image_upload
from frontend.service import errors, predictions
from frontend.service.predictions import ImageFile, PredictionCache
from frontend.service.session import Service
from frontend.ui import classification, formatting
from frontend.ui.alerts import Problem
from frontend.ui.bar_order import FixedBars
from frontend.ui.components import live_camera

KEY = "live camera"
RETRY_AFTER = 2.0  # seconds until the next frame after a problem without a time

_STATE = "live classification"


@dataclass
class _LiveState:
    """The last frame and what is shown for it."""

    frame_id: int = 0
    frame: ImageFile | None = None  # the last classified one
    result: Classification | None = None
    model: ModelInfo | None = None  # that classified it
    message: str = ""  # why there is no result
    wait: float = 0.0  # seconds
    is_stopped: bool = False
    bars: FixedBars = field(default_factory=FixedBars)


@st.fragment  # a frame reruns neither the rest of the page nor the request for the served models
def show(service: Service | Problem) -> None:
    """Show the camera and the classification of its latest frame."""
    if KEY not in st.session_state:  # the camera is new on the page
        st.session_state.pop(_STATE, None)
    state: _LiveState = st.session_state.setdefault(_STATE, _LiveState())
    sent = live_camera.frame(KEY)
    if sent is not None and sent[0] != state.frame_id:
        _classify(service, state, *sent)
    if live_camera.is_kept(KEY) and state.frame is not None:
        image_upload.select(state.frame)
        state.frame = state.result = None
        st.rerun()  # the page classifies and stores the image
    camera, answer = st.columns(2, gap="medium")
    with answer:
        if state.result is not None and state.model is not None:
            classification.show_headline(state.result, state.model)
            if isinstance(service, Service) and service.request.members:
                classification.show_model_name(state.model, is_automatic=True)
            classification.show_details(state.result, state.model, key=KEY, fixed_bars=state.bars)
        else:
            st.info(
                "The classification of the camera image appears here.", icon=":material/videocam:"
            )
    with camera:  # last: it sends the next frame after this one's classification is on the page
        live_camera.show(
            KEY,
            answered=state.frame_id,
            announcement=_announcement(state),
            message=state.message,
            wait=state.wait,
            is_stopped=state.is_stopped,
        )


def _classify(service: Service | Problem, state: _LiveState, frame_id: int, content: bytes) -> None:
    state.frame_id = frame_id
    if isinstance(service, Problem):
        _pause(state, service)
        return
    frame = ImageFile("camera frame.jpg", content)
    request = replace(service.request, store=False)
    outcome = predictions.classify(service.client, request, [frame], PredictionCache(1))[0]
    if isinstance(outcome, ClientError):
        is_busy = isinstance(outcome, BackendError) and outcome.status == 429
        _pause(state, errors.describe(outcome), is_busy=is_busy)
        return
    state.frame, state.result, state.model = frame, outcome, request.model_of(outcome)
    state.message, state.wait, state.is_stopped = "", 0.0, False


def _pause(state: _LiveState, problem: Problem, *, is_busy: bool = False) -> None:
    """Wait before the next frame after a temporary problem; stop the camera after another one."""
    state.is_stopped = not problem.is_temporary
    state.wait = problem.retry_after or RETRY_AFTER
    if is_busy:
        advice = (
            f"Live mode slows down: the next frame follows in {formatting.seconds(state.wait)}."
        )
    elif problem.is_temporary:
        advice = "Live mode is paused. It continues automatically."
    else:
        advice = problem.advice.replace("`", "")
    state.message = f"{problem.message} {advice}"


def _announcement(state: _LiveState) -> str:
    """Return the label, which changes less often than the confidence."""
    if state.result is None or state.model is None:
        return ""
    kind = state.model.input.kind
    if state.result.in_distribution is False:
        return formatting.not_in_distribution(kind)
    if state.result.labels is not None:
        names = ", ".join(score.label for score in state.result.labels)
        return names or formatting.NO_LABEL
    return formatting.label_name(state.result.prediction, kind)
