"""A camera whose frames are classified one after the other."""

import streamlit as st

from frontend.ui import components

PREFIX = "data:image/jpeg;base64,"
MAX_URL_LENGTH = 4_000_000

_camera = components.register("live_camera")


def frame(key: str) -> tuple[int, bytes] | None:
    """Return the id and the JPEG file of the frame that was just sent, or None."""
    value = (st.session_state.get(key) or {}).get("frame")
    if not isinstance(value, dict) or not isinstance(value.get("id"), int):
        return None
    content = components.decode_data_url(value.get("jpeg"), PREFIX, MAX_URL_LENGTH)
    return None if content is None else (value["id"], content)


def is_kept(key: str) -> bool:
    """Return whether the user has just clicked *Keep this frame*, which stops the camera."""
    return (st.session_state.get(key) or {}).get("keep") is True


def show(
    key: str,
    *,
    answered: int,
    announcement: str,
    message: str,
    wait: float,
    is_stopped: bool,
    is_recorder: bool = False,
) -> None:
    """Show the camera with its buttons; the camera stops when it leaves the page.

    The camera sends its next frame after the frame `answered` (an id), and not before `wait`
    seconds have passed. The `message` is shown below the camera; with `is_stopped` the camera
    stops. A recorder sends frames only while *Hold to record* is pressed, by pointer or with the
    space bar, and for each click on *Take one image*. Screen readers read the `announcement` when
    it changes.
    """
    data = {
        "answered": answered,
        "announcement": announcement,
        "message": message,
        "wait": wait,
        "is_stopped": is_stopped,
        "is_recorder": is_recorder,
    }
    _camera(key=key, data=data, on_frame_change=lambda: None, on_keep_change=lambda: None)
