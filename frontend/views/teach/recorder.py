"""Record training images with the camera: two frames per second while the button is held."""

from collections.abc import Callable

import streamlit as st

from frontend.service.predictions import ImageFile
from frontend.ui.components import live_camera
from frontend.ui.formatting import count, escape

KEY = "teach camera"
_NUMBER = "teach last frame number"

OnFrame = Callable[[str, ImageFile], str]
CountImages = Callable[[str], int]


def show(label: str | None, on_frame: OnFrame, count_images: CountImages) -> None:
    """Show the camera; `on_frame(label, frame)` adds a frame and returns a message or nothing.

    `count_images(label)` returns the number of images of a class.
    """
    if label is None:
        st.caption("Name the class first.")
        return
    st.caption(
        "Start the camera, then hold the button, or the space bar, while the camera sees the "
        "object. Move the object between the images."
    )
    _record(label, on_frame, count_images)
    st.button("Show the recorded images", icon=":material/refresh:", key="teach recorded")


@st.fragment  # a frame does not rerun the rest of the page
def _record(label: str, on_frame: OnFrame, count_images: CountImages) -> None:
    sent = live_camera.frame(KEY)
    number = st.session_state.setdefault(_NUMBER, 0)
    message = ""
    if sent is not None and sent[0] != number:
        st.session_state[_NUMBER] = number = sent[0]
        message = on_frame(label, ImageFile(f"camera {number}.jpg", sent[1]))
    text = f"{count(count_images(label), 'image', 'images')} of {label}"
    st.markdown(f"**{escape(text)}**")
    live_camera.show(
        KEY,
        answered=number,
        announcement=text if number else "",
        message=message,
        wait=0.0,
        is_stopped=bool(message),
        is_recorder=True,
    )
