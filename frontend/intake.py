"""Where pictures come from: files, the camera, the clipboard, the examples."""

from collections.abc import Sequence
from functools import partial

import streamlit as st
from streamlit.runtime.uploaded_file_manager import UploadedFile

from frontend import examples
from frontend.components import gallery, paste
from frontend.pictures import Picture

_CHOSEN = "pictures"
_FILES = "files"
_CAMERA = "camera"
_PASTE = "paste"
_GALLERY = "examples"
_ROUND = "round"  # a new round gives the uploader a new key, which empties it
TYPES = ["jpg", "jpeg", "png", "webp", "bmp", "gif"]


def chosen() -> Sequence[Picture]:
    """Return the pictures chosen last, wherever they came from; they outlive a change of page."""
    pictures: Sequence[Picture] = st.session_state.get(_CHOSEN, ())
    return pictures


def show(kind: str | None) -> None:
    """Offer every way to choose pictures; examples are of the `kind` that the model reads."""
    key = f"{_FILES} {st.session_state.setdefault(_ROUND, 0)}"
    st.file_uploader(
        "Pictures from your device",
        type=TYPES,
        accept_multiple_files=True,
        key=key,
        on_change=_take_files,
        args=(key,),
    )
    paste.show(key=_PASTE, on_paste=_take_paste)
    if st.toggle("Use the camera", key="camera on"):
        st.camera_input("Hold the picture before the camera", key=_CAMERA, on_change=_take_photo)
    if kind is not None:
        gallery.show(
            "Or try one of these:",
            examples.load(kind),
            key=f"{_GALLERY} {kind}",
            on_pick=partial(_take_example, kind),
        )


def clear() -> None:
    """Forget the pictures and empty the uploader."""
    st.session_state[_CHOSEN] = ()
    st.session_state[_ROUND] += 1


def _take_files(key: str) -> None:
    files: Sequence[UploadedFile] = st.session_state[key]
    st.session_state[_CHOSEN] = [Picture(file.name, file.getvalue()) for file in files]


def _take_photo() -> None:
    photo: UploadedFile | None = st.session_state[_CAMERA]
    st.session_state[_CHOSEN] = [] if photo is None else [Picture("photo", photo.getvalue())]


def _take_paste() -> None:
    if picture := paste.pasted(_PASTE):
        st.session_state[_CHOSEN] = [picture]


def _take_example(kind: str) -> None:
    index = gallery.picked(f"{_GALLERY} {kind}")
    shown = examples.load(kind)
    if index is not None and 0 <= index < len(shown):
        st.session_state[_CHOSEN] = [Picture(shown[index].name, shown[index].content)]
