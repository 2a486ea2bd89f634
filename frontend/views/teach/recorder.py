"""Record training images with the camera: two frames per second while recording is on."""

from collections.abc import Callable

import streamlit as st

from frontend.service.predictions import ImageFile
from frontend.ui.components import live_camera
from frontend.ui.formatting import escape

KEY = "teach camera"
_RECORD = "teach record"
_LAST = "teach last frame"
_NUMBER = "teach last frame number"

OnFrame = Callable[[str, ImageFile], str]


def show(label: str | None, on_frame: OnFrame) -> None:
    """Show the camera; `on_frame(label, frame)` adds a frame and returns a message or nothing."""
    if label is None:
        st.caption("Name the class first.")
        return
    _record(label, on_frame)
    st.button("Show the recorded images", icon=":material/refresh:", key="teach recorded")


@st.fragment  # a frame does not rerun the rest of the page
def _record(label: str, on_frame: OnFrame) -> None:
    is_recording = st.toggle(
        f"Record images of {escape(label)}",
        key=_RECORD,
        help="Start the camera, then turn this on while the camera sees the object. "
        "Move the object between the images.",
    )
    sent = live_camera.frame(KEY)
    last: ImageFile | None = st.session_state.get(_LAST)
    number = st.session_state.setdefault(_NUMBER, 0)
    message = ""
    if sent is not None and sent[0] != number:
        st.session_state[_NUMBER] = number = sent[0]
        st.session_state[_LAST] = last = ImageFile(f"camera {number}.jpg", sent[1])
        if is_recording:
            message = on_frame(label, last)
    if live_camera.is_kept(KEY) and last is not None:
        message = on_frame(label, last)
    live_camera.show(
        KEY,
        answered=number,
        announcement="",
        message=message,
        wait=0.0,
        is_stopped=bool(message),
    )
