"""Where labelled pictures come from: a zip of class folders, or a folder of them."""

from collections.abc import Callable, Sequence
from typing import Any

import streamlit as st

from evaluation.errors import EvaluationError
from evaluation.sources.layout import PICTURES
from frontend.datasets import dataset
from frontend.datasets.dataset import Labelled
from frontend.datasets.evaluation_job import sentence
from frontend.datasets.upload_memory import release
from frontend.state.jobs import BusyError
from frontend.ui.components import packer
from frontend.ui.formatting import plain

KINDS = ("A zip", "A folder")
BUSY = "Too much work is under way. Wait until some of it has ended, then choose the data again."
TOO_LARGE = (
    "This folder is too large to be sent in one piece. Send a part of it, or measure it with "
    "python -m evaluation."
)
_FOLDER = "labelled-folder"

Begin = Callable[[Labelled], None]


def show(key: str, begin: Begin | None) -> None:
    """Offer to upload; `begin` is given what was uploaded, and raises EvaluationError or BusyError.

    Without a `begin` (there is no backend now) the upload waits for one.
    """
    kind = st.radio("Labelled pictures", KINDS, horizontal=True, key=f"{key} kind")
    number = st.session_state.setdefault(f"{key} round", 0)
    widget = f"{key} {kind} {number}"
    uploads = _uploader(kind, widget)
    if not uploads:
        return
    if begin is None:
        st.info("These pictures are measured as soon as the backend answers.")
        return
    ids = " ".join(upload.file_id for upload in uploads)
    tried = f"{key} tried"
    if st.session_state.get(tried, ("", ""))[0] != ids:
        with st.spinner("Looking through the pictures…", show_time=False):
            trouble = _begin(uploads, begin)
        st.session_state[tried] = (ids, trouble)
        if not trouble:
            st.session_state[f"{key} round"] = number + 1  # empties the uploader
            release(uploads)
            st.rerun()
    if trouble := st.session_state[tried][1]:
        st.error(plain(trouble), icon=":material/error:")


def _uploader(kind: str, key: str) -> Sequence[Any]:
    if kind == KINDS[0]:
        one = st.file_uploader("A zip with one folder for each class", type="zip", key=key)
        return [one] if one else []
    with st.container(key=_FOLDER):
        files = st.file_uploader(
            "A folder with one folder for each class", accept_multiple_files="directory", key=key
        )
    packer.show(_FOLDER, [ending.lstrip(".") for ending in PICTURES], key="labelled packer")
    return files


def _begin(uploads: Sequence[Any], begin: Begin) -> str:
    """Keep the upload and begin; return what is wrong with it, or nothing."""
    try:
        packed = [upload for upload in uploads if _is_whole(upload.name)]
        if len(packed) > 1:
            return TOO_LARGE
        data = dataset.keep_zip(packed[0]) if packed else dataset.keep_folder(uploads)
    except EvaluationError as error:
        return sentence(error)
    try:
        begin(data)
    except (EvaluationError, BusyError) as error:
        data.close()
        return BUSY if isinstance(error, BusyError) else sentence(error)
    return ""


def _is_whole(name: str) -> bool:
    """Tell a zip that holds all pictures from one that lies in the folder that was chosen."""
    return "/" not in name and name.lower().endswith(".zip")
