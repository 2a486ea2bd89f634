"""Choose images: files, folders and zips, the camera, the clipboard, the examples."""

from collections.abc import Callable, Iterable, Sequence
from functools import partial

import streamlit as st
from streamlit.runtime.memory_uploaded_file_manager import MemoryUploadedFileManager
from streamlit.runtime.scriptrunner import get_script_run_ctx
from streamlit.runtime.uploaded_file_manager import DeletedFile, UploadedFile

from evaluation.sources.class_folders import IMAGE_SUFFIXES, OTHER_SUFFIXES
from frontend import examples
from frontend.datasets import archives, kept_selections
from frontend.datasets.archives import Extraction
from frontend.datasets.selections import ImageSelection, SelectionStore
from frontend.service import session
from frontend.service.predictions import ImageFile
from frontend.state import url_state
from frontend.ui import alerts
from frontend.ui.alerts import Problem
from frontend.ui.components import image_sources

SELECTION_PARAM = "pictures"  # in the URL
TYPES = [suffix.lstrip(".") for suffix in sorted(IMAGE_SUFFIXES | OTHER_SUFFIXES)]
FILES, FOLDER, CAMERA, LIVE = ("Files or zip", "Folder", "Camera", "Live camera")

_SELECTION = "selection"
_MISSING = "missing selection"  # the token of one that is not in the page's store either
_OWN_TOKENS = "own selections"  # tokens of the selections of this session
_EXTRACTED = "extracted"  # by the ids of the files that the uploader lists
_PROBLEMS = "upload problems"
_SOURCE = "source"
_PHOTO = "photo"
_UPLOADER = "uploader"
_PASTE = "paste"
_GALLERY = "examples"
_ROUND = "round"  # a new round gives the uploader a new key, which empties it


def images() -> Sequence[ImageFile]:
    """Return the images of the current selection, which persists across a reload."""
    current = selection()
    return current.images if current else ()


def selection() -> ImageSelection | None:
    """Return the current selection of images."""
    token = url_state.get(SELECTION_PARAM)
    own: ImageSelection | None = st.session_state.get(_SELECTION)
    stored = _selections().find(token)
    if own is not None and own.token == token:
        return own
    st.session_state[_SELECTION] = stored = stored or _restore(token)
    return stored


def show(kind: str | None, show_live: Callable[[], None] | None = None) -> None:
    """Show all ways to choose images; the examples match the model's input `kind`.

    `show_live` shows the live camera, which is one more source.
    """
    sources = [FILES, FOLDER, CAMERA, *([LIVE] if show_live else [])]
    source = st.segmented_control("Source", sources, default=FILES, required=True, key=_SOURCE)
    if source == CAMERA:
        st.camera_input("Take a photo of the image", key=_PHOTO, on_change=_take_photo)
    elif source == LIVE and show_live is not None:
        show_live()
    else:
        _show_uploader(is_folder=source == FOLDER)
    for problem in st.session_state.get(_PROBLEMS, ()):
        alerts.show(problem)
    if url_state.get(SELECTION_PARAM) and selection() is None:
        st.info("These images have expired. Choose them again.")
    image_sources.show_paste_hint(key=_PASTE, on_paste=_take_paste)
    if kind is not None:
        image_sources.show_gallery(
            "Or try an example:",
            examples.load(kind),
            key=f"{_GALLERY} {kind}",
            on_pick=partial(_take_example, kind),
        )


def select(image: ImageFile) -> None:
    """Select an image in place of the uploader's files."""
    _empty_uploader()
    _select([image])


def clear() -> None:
    """Discard the selection, unless another session created it, and empty the uploader."""
    _discard_stored()
    token = url_state.get(SELECTION_PARAM)
    if token in st.session_state.get(_OWN_TOKENS, ()):
        _selections().discard(token)
    url_state.put(SELECTION_PARAM, None)
    st.session_state[_SELECTION] = None
    st.session_state[_PROBLEMS] = ()
    _empty_uploader()


def release_memory(uploads: Iterable[UploadedFile]) -> None:
    """Free the memory of uploads, which Streamlit would otherwise hold as long as the session.

    An uploader that still lists the files returns a DeletedFile with the same `file_id` for each.
    """
    ctx = get_script_run_ctx()
    if ctx and isinstance(manager := ctx.uploaded_file_mgr, MemoryUploadedFileManager):
        for upload in uploads:
            manager.remove_file(session_id=ctx.session_id, file_id=upload.file_id)


def _empty_uploader() -> None:
    st.session_state[_EXTRACTED] = {}
    st.session_state[_ROUND] = st.session_state.get(_ROUND, 0) + 1


@st.cache_resource(show_spinner=False)
def _selections() -> SelectionStore[ImageSelection]:
    return SelectionStore()


def _restore(token: str | None) -> ImageSelection | None:
    """Return the selection of that token from the page's store."""
    if not token or st.session_state.get(_MISSING) == token:
        return None
    restored = kept_selections.find(token)
    if restored is None:
        st.session_state[_MISSING] = token
    else:
        _selections().put(restored)
    return restored


def _discard_stored() -> None:
    """Delete the current selection from the page's store, unless another session created it."""
    current = selection()
    if current and current.token in st.session_state.get(_OWN_TOKENS, ()):
        kept_selections.discard(current)


def _show_uploader(*, is_folder: bool) -> None:
    key = f"{'folder' if is_folder else 'files'} {st.session_state.setdefault(_ROUND, 0)}"
    with st.container(key=_UPLOADER):
        st.file_uploader(
            "Folder of images" if is_folder else "Images, or a zip of images",
            # The backend says what a file is that is no image; a folder may hold any other files.
            type=[*TYPES, "zip"] if is_folder else None,
            accept_multiple_files="directory" if is_folder else True,
            key=key,
            on_change=_take_files,
            args=(key,),
        )
    image_sources.pack_uploads(_UPLOADER, [*TYPES, "zip"], key="packer")


def _take_files(key: str) -> None:
    """Select the images of the files that the uploader lists.

    Files of earlier runs are DeletedFile objects; their extracted images are in the session.
    """
    files: Sequence[UploadedFile | DeletedFile] = st.session_state[key]
    earlier: dict[str, Extraction] = st.session_state.get(_EXTRACTED, {})
    if files and [file.file_id for file in files] == list(earlier):
        return  # Streamlit reports the release of the files as a change
    if not files:
        clear()
        return
    new = [file for file in files if isinstance(file, UploadedFile)]
    if problem := archives.reject_many_zips(file.name for file in new):
        release_memory(new)
        _empty_uploader()
        _select([], [problem])
        return
    with st.spinner("Opening…", show_time=False):
        extracted = earlier | {file.file_id: archives.extract(file) for file in new}
    listed = {file.file_id: extracted[file.file_id] for file in files if file.file_id in extracted}
    chosen, problems = archives.combine(listed.values())
    release_memory(new)
    if chosen:
        st.session_state[_EXTRACTED] = listed
    else:
        _empty_uploader()
    _select(chosen, problems)


def _take_photo() -> None:
    photo: UploadedFile | None = st.session_state[_PHOTO]
    if photo is None:
        clear()
    else:
        select(ImageFile("photo", photo.getvalue()))


def _take_paste() -> None:
    if pasted := image_sources.pasted_image(_PASTE):
        select(ImageFile(*pasted))


def _take_example(kind: str) -> None:
    index = image_sources.picked_index(f"{_GALLERY} {kind}")
    shown = examples.load(kind)
    if index is not None and 0 <= index < len(shown):
        select(ImageFile(shown[index].name, shown[index].content))


def _select(chosen: Sequence[ImageFile], problems: Sequence[Problem] = ()) -> None:
    """Replace the selection, unless `chosen` is empty."""
    st.session_state[_PROBLEMS] = problems
    if chosen:
        _discard_stored()
        new = ImageSelection(chosen, session.cache())
        _selections().put(new)
        st.session_state[_SELECTION] = new
        st.session_state.setdefault(_OWN_TOKENS, set()).add(new.token)
        url_state.put(SELECTION_PARAM, new.token)
