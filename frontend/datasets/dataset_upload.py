"""Upload a labeled dataset: a zip of class folders, or a folder of them."""

from collections.abc import Callable, Sequence
from typing import Any

import streamlit as st

from evaluation.errors import EvaluationError
from evaluation.sources.class_folders import IMAGE_SUFFIXES
from frontend.datasets import dataset
from frontend.datasets.dataset import Dataset
from frontend.datasets.evaluation_job import as_sentence
from frontend.datasets.image_upload import release_memory
from frontend.state.jobs import BusyError
from frontend.ui.components import image_sources
from frontend.ui.formatting import escape

KINDS = ("Zip", "Folder")
BUSY_MESSAGE = (
    "Too many jobs are running. Wait until some have finished, then choose the dataset again."
)
TOO_LARGE_MESSAGE = (
    "This folder is too large for a single upload. Upload part of it, or evaluate it with "
    "python -m evaluation."
)
NO_IMAGES = (
    "This result was stored, but its dataset was not: upload the dataset again to use it again."
)
_FOLDER = "labeled-folder"

OnUpload = Callable[[Dataset], None]


def show(
    key: str, on_upload: OnUpload | None, *, too_large_message: str = TOO_LARGE_MESSAGE
) -> None:
    """Show the uploader; `on_upload(dataset)` may raise EvaluationError or BusyError.

    If the backend is unavailable, `on_upload` is None and the uploaded files remain.
    `too_large_message` is shown for a folder that does not fit into one upload.
    """
    kind = st.radio("Labeled images", KINDS, horizontal=True, key=f"{key} kind")
    number = st.session_state.setdefault(f"{key} round", 0)
    widget = f"{key} {kind} {number}"
    uploads = _show_uploader(kind, widget)
    if not uploads:
        return
    if on_upload is None:
        st.info("Processing starts when the backend is available again.")
        return
    ids = " ".join(upload.file_id for upload in uploads)
    processed = f"{key} processed"
    if st.session_state.get(processed, ("", ""))[0] != ids:
        with st.spinner("Checking the images…", show_time=False):
            error = _process(uploads, on_upload, too_large_message)
        st.session_state[processed] = (ids, error)
        if not error:
            st.session_state[f"{key} round"] = number + 1  # empties the uploader
            release_memory(uploads)
            st.rerun()
    if error := st.session_state[processed][1]:
        st.error(escape(error), icon=":material/error:")


def _show_uploader(kind: str, key: str) -> Sequence[Any]:
    if kind == KINDS[0]:
        file = st.file_uploader("Zip with one folder per class", type="zip", key=key)
        return [file] if file else []
    with st.container(key=_FOLDER):
        label = "Folder with one folder per class"
        files = st.file_uploader(label, accept_multiple_files="directory", key=key)
    extensions = [suffix.lstrip(".") for suffix in IMAGE_SUFFIXES]
    image_sources.pack_uploads(_FOLDER, extensions, key="labeled packer")
    return files


def _process(uploads: Sequence[Any], on_upload: OnUpload, too_large_message: str) -> str:
    """Store the upload and pass it on; return an error message, or an empty string."""
    try:
        zips = [upload for upload in uploads if _is_packed(upload.name)]
        if len(zips) > 1:
            return too_large_message
        stored = dataset.store_zip(zips[0]) if zips else dataset.store_folder(uploads)
    except EvaluationError as error:
        return as_sentence(error)
    try:
        on_upload(stored)
    except (EvaluationError, BusyError) as error:
        stored.close()
        return BUSY_MESSAGE if isinstance(error, BusyError) else as_sentence(error)
    return ""


def _is_packed(name: str) -> bool:
    """Return whether this is a zip of all images, and not a zip inside the chosen folder."""
    return "/" not in name and name.lower().endswith(".zip")
