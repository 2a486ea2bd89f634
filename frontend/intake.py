"""Where pictures come from: files, the camera, the clipboard, the examples."""

from collections.abc import Sequence

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
    """Offer every way to choose pictures; the examples only where the model reads digits."""
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
    if kind == "digit":
        gallery.show(
            "Or try one of these:",
            [(example.says, example.png) for example in examples.load()],
            key=_GALLERY,
            on_pick=_take_example,
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


def _take_example() -> None:
    index = gallery.picked(_GALLERY)
    if index is not None and 0 <= index < len(examples.load()):
        example = examples.load()[index]
        st.session_state[_CHOSEN] = [Picture(example.name, example.png)]
