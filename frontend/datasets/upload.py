"""Where pictures come from: files, folders and zips, the camera, the clipboard, the examples."""

from collections.abc import Sequence
from functools import partial

import streamlit as st
from streamlit.runtime.uploaded_file_manager import DeletedFile, UploadedFile

from frontend import examples
from frontend.datasets import archives, upload_memory
from frontend.datasets.archives import Taken
from frontend.datasets.images import Picture
from frontend.datasets.selections import Batch, Batches
from frontend.service import session
from frontend.service.errors import Problem
from frontend.state import url_state
from frontend.ui import alerts
from frontend.ui.components import gallery, packer, paste

CHOICE = "pictures"  # in the address
TYPES = ["jpg", "jpeg", "png", "webp", "bmp", "gif"]
FILES, FOLDER, CAMERA = WAYS = ("Files or a zip", "A folder", "The camera")

_BATCH = "batch"
_OWN = "own batches"  # tokens of those that this session chose
_TAKEN = "taken"  # from the files that the uploader lists, by their ids
_REFUSED = "refused"
_WAY = "way"
_PHOTO = "photo"
_UPLOADER = "uploader"
_PASTE = "paste"
_GALLERY = "examples"
_ROUND = "round"  # a new round gives the uploader a new key, which empties it


def chosen() -> Sequence[Picture]:
    """Return the pictures chosen last, wherever they came from; they outlive a reload."""
    held = batch()
    return held.pictures if held else ()


def batch() -> Batch | None:
    """Return the pictures chosen last, with what was answered of them."""
    token = url_state.get(CHOICE)
    own: Batch | None = st.session_state.get(_BATCH)
    held = _batches().find(token)
    if own is not None and own.token == token:
        return own
    st.session_state[_BATCH] = held
    return held


def show(kind: str | None) -> None:
    """Offer every way to choose pictures; examples are of the `kind` that the model reads."""
    way = st.segmented_control("Pictures from", WAYS, default=FILES, required=True, key=_WAY)
    if way == CAMERA:
        st.camera_input("Hold the picture before the camera", key=_PHOTO, on_change=_take_photo)
    else:
        _offer_uploader(is_folder=way == FOLDER)
    for problem in st.session_state.get(_REFUSED, ()):
        alerts.show(problem)
    if url_state.get(CHOICE) and batch() is None:
        st.info("These pictures are no longer kept here. Choose them again.")
    paste.show(key=_PASTE, on_paste=_take_paste)
    if kind is not None:
        gallery.show(
            "Or try one of these:",
            examples.load(kind),
            key=f"{_GALLERY} {kind}",
            on_pick=partial(_take_example, kind),
        )


def clear() -> None:
    """Forget the pictures and empty the uploader; what another session chose is kept for it."""
    token = url_state.get(CHOICE)
    if token in st.session_state.get(_OWN, ()):
        _batches().drop(token)
    url_state.put(CHOICE, None)
    st.session_state[_BATCH] = None
    st.session_state[_REFUSED] = ()
    _empty_uploader()


def _empty_uploader() -> None:
    st.session_state[_TAKEN] = {}
    st.session_state[_ROUND] = st.session_state.get(_ROUND, 0) + 1


@st.cache_resource(show_spinner=False)
def _batches() -> Batches:
    return Batches()


def _offer_uploader(*, is_folder: bool) -> None:
    key = f"{'folder' if is_folder else 'files'} {st.session_state.setdefault(_ROUND, 0)}"
    with st.container(key=_UPLOADER):
        st.file_uploader(
            "A folder of pictures" if is_folder else "Pictures, or a zip of them",
            type=[*TYPES, "zip"],
            accept_multiple_files="directory" if is_folder else True,
            key=key,
            on_change=_take_files,
            args=(key,),
        )
    packer.show(_UPLOADER, [*TYPES, "zip"], key="packer")


def _take_files(key: str) -> None:
    """Take what the uploader lists; what was taken before is no longer kept by Streamlit."""
    files: Sequence[UploadedFile | DeletedFile] = st.session_state[key]
    before: dict[str, Taken] = st.session_state.get(_TAKEN, {})
    if files and [file.file_id for file in files] == list(before):
        return  # that they are no longer kept is a change to Streamlit
    if not files:
        clear()
        return
    new = [file for file in files if isinstance(file, UploadedFile)]
    with st.spinner("Opening…", show_time=False):
        taken = before | {file.file_id: archives.take(file) for file in new}
    listed = {file.file_id: taken[file.file_id] for file in files if file.file_id in taken}
    pictures, refused = archives.together(listed.values())
    upload_memory.release(new)
    if pictures:
        st.session_state[_TAKEN] = listed
    else:
        _empty_uploader()
    _choose(pictures, refused)


def _take_photo() -> None:
    photo: UploadedFile | None = st.session_state[_PHOTO]
    if photo is None:
        clear()
    else:
        _choose_other(Picture("photo", photo.getvalue()))


def _take_paste() -> None:
    if picture := paste.pasted(_PASTE):
        _choose_other(picture)


def _take_example(kind: str) -> None:
    index = gallery.picked(f"{_GALLERY} {kind}")
    shown = examples.load(kind)
    if index is not None and 0 <= index < len(shown):
        _choose_other(Picture(shown[index].name, shown[index].content))


def _choose_other(picture: Picture) -> None:
    """Take a picture in place of those that the uploader lists."""
    _empty_uploader()
    _choose([picture])


def _choose(pictures: Sequence[Picture], refused: Sequence[Problem] = ()) -> None:
    """Take other pictures in place of those that there are, unless there are none to take."""
    st.session_state[_REFUSED] = refused
    if pictures:
        new = Batch(pictures, session.memory())
        _batches().put(new)
        st.session_state[_BATCH] = new
        st.session_state.setdefault(_OWN, set()).add(new.token)
        url_state.put(CHOICE, new.token)
