"""Collect training images: one class at a time, class folders, the camera, or the history."""

from collections.abc import Callable, Sequence
from typing import Final

import streamlit as st
from streamlit.runtime.uploaded_file_manager import UploadedFile

from frontend.datasets import archives, dataset_upload
from frontend.datasets.dataset import Dataset
from frontend.datasets.image_upload import TYPES, release_memory
from frontend.datasets.selections import SelectionStore
from frontend.datasets.training_set import TrainingSet, TrainingSetError, add_dataset
from frontend.service.predictions import ImageFile
from frontend.service.session import Service
from frontend.service.teaching import NONE_OF_THESE
from frontend.state import url_state
from frontend.ui import image_grid
from frontend.ui.alerts import Problem
from frontend.ui.components import image_sources
from frontend.ui.formatting import count, escape, shorten
from frontend.ui.image_grid import Tile
from frontend.views.teach import history_images, recorder

SET_PARAM, PAGE, CLASSES_PAGE = URL_PARAMS = ("classes", "images-page", "classes-page")
ONE, FOLDERS, CAMERA, HISTORY = SOURCES = (
    "One class at a time",
    "Zip or folder",
    "Camera",
    "History",
)
TOO_LARGE: Final = (
    "This folder is too large for a single upload. Upload part of it, or teach the model with "
    "python -m teach."
)
_SOURCE = "teach source"
_CHOSEN = "teach class"
_CHOICE = "teach class choice"
_ROUND = "teach round"  # a new round gives the uploader a new key, which empties it
_UPLOADER = "teach_uploader"
_ERROR = "teach images error"
_NOTE = "teach images note"


def current() -> TrainingSet | None:
    """Return the images that the URL names; show a message if they have expired."""
    token = url_state.get(SET_PARAM)
    images = _store().find(token)
    if token and images is None:
        st.info("The training images have expired. Add them again.")
    return images


def replace(images: TrainingSet | None) -> None:
    """Use other images from now on; None starts without images."""
    if images is not None:
        _store().put(images)
    for param in (PAGE, CLASSES_PAGE):
        url_state.put(param, None)
    url_state.put(SET_PARAM, images.token if images else None)
    for key in (_CHOSEN, _ERROR, _NOTE):
        st.session_state.pop(key, None)


def show(service: Service | Problem, images: TrainingSet | None) -> None:
    """Show the sources of images, and the classes."""
    source = st.segmented_control("Source", SOURCES, default=ONE, required=True, key=_SOURCE)
    if source == FOLDERS:
        dataset_upload.show("teach", _add_dataset, too_large_message=TOO_LARGE)
    elif source == HISTORY:
        history_images.show(service, _add_dataset)
    else:
        label = _show_class_choice(images)
        if source == CAMERA:
            recorder.show(label, _add_frame, _count_images)
        else:
            _show_uploader(label)
    if error := st.session_state.get(_ERROR):
        st.error(escape(error), icon=":material/error:")
    if note := st.session_state.get(_NOTE):
        st.caption(escape(note))
    if images is not None and images.labels:
        _show_classes(images)


@st.cache_resource(show_spinner=False)
def _store() -> SelectionStore[TrainingSet]:
    return SelectionStore()


def _current_or_new() -> TrainingSet:
    images = _store().find(url_state.get(SET_PARAM))
    if images is None:
        replace(images := TrainingSet())
    return images


def _report(error: str | None, note: str | None = None) -> None:
    st.session_state[_ERROR], st.session_state[_NOTE] = error, note


def _add_dataset(data: Dataset, *, skip: Callable[[bytes], bool] | None = None) -> None:
    """Add the images of class folders; raise TrainingSetError."""
    images = _current_or_new()
    before = len(images.images())
    notes = add_dataset(images, data, skip)
    data.close()
    added = count(len(images.images()) - before, "image", "images")
    _report(None, "; ".join([f"Added {added} from {data.name}", *notes]) + ".")


def _show_class_choice(images: TrainingSet | None) -> str | None:
    labels = list(images.labels) if images else []
    if NONE_OF_THESE not in labels:
        labels.append(NONE_OF_THESE)
    chosen: str | None = st.session_state.get(_CHOSEN)
    st.session_state[_CHOICE] = chosen if chosen in labels else None
    st.selectbox(
        "Class",
        labels,
        index=None,
        accept_new_options=True,
        placeholder="Type a name, or choose a class",
        help=f"*{NONE_OF_THESE}* is an optional class for images of other things.",
        key=_CHOICE,
        on_change=_choose_class,
    )
    return st.session_state[_CHOICE]  # type: ignore[no-any-return]


def _choose_class() -> None:
    name: str | None = st.session_state[_CHOICE]
    _report(None)
    url_state.put(PAGE, None)
    st.session_state[_CHOSEN] = None
    if name is not None:
        try:
            st.session_state[_CHOSEN] = _current_or_new().add_class(name)
        except TrainingSetError as error:
            _report(str(error))


def _show_uploader(label: str | None) -> None:
    if label is None:
        st.caption("Name the class first; then add its images.")
        return
    key = f"teach files {st.session_state.setdefault(_ROUND, 0)}"
    with st.container(key=_UPLOADER):
        st.file_uploader(
            f"Images of {escape(label)}",
            accept_multiple_files=True,
            key=key,
            on_change=_take_files,
            args=(key, label),
        )
    image_sources.pack_uploads(_UPLOADER, [*TYPES, "zip"], key="teach packer")


def _take_files(key: str, label: str) -> None:
    """Add the uploaded files, and the images of uploaded zips, to a class."""
    uploads: Sequence[UploadedFile] = st.session_state[key]
    if not uploads:
        return
    if problem := archives.reject_many_zips(upload.name for upload in uploads):
        extracted: archives.Extraction = [], [problem]
    else:
        extracted = archives.combine([archives.extract(upload) for upload in uploads])
    files, problems = extracted
    release_memory(uploads)
    st.session_state[_ROUND] += 1
    errors = [f"{problem.message} {problem.advice}" for problem in problems]
    errors += [f"{file.name}: {file.error}" for file in files if file.error]
    readable = [file for file in files if not file.error]
    try:
        known = _current_or_new().add(label, readable)
    except TrainingSetError as error:
        _report(str(error))
        return
    note = f"Added {count(len(readable) - known, 'image', 'images')} to {label}."
    if known:
        note += f" {count(known, 'image was', 'images were')} already there, of the same content."
    _report(" ".join(errors) or None, note)


def _add_frame(label: str, frame: ImageFile) -> str:
    """Add a frame of the camera; return a message, or an empty string."""
    try:
        _current_or_new().add(label, [frame])
    except TrainingSetError as error:
        return str(error)
    return ""


def _count_images(label: str) -> int:
    images = _store().find(url_state.get(SET_PARAM))
    return len(images.images(label)) if images else 0


def _show_classes(images: TrainingSet) -> None:
    labels = images.labels
    total = count(len(images.images()), "image", "images")
    classes = count(len(labels), "class", "classes")
    st.markdown(f"**{classes}, {total}.** Choose a class to see and change its images.")

    def tile(index: int) -> Tile:
        members = images.images(labels[index])
        image = images.thumbnail(members[0].file.digest) if members else None
        number = count(len(members), "image", "images")
        alt = f"An image of {labels[index]}"
        return Tile(image, shorten(labels[index], 40), alt, key=f"class {index}", note=number)

    clicked = image_grid.show(
        CLASSES_PAGE,
        len(labels),
        tile,
        page=url_state.get(CLASSES_PAGE),
        on_page_change=url_state.put,
    )
    if clicked is not None:
        st.session_state[_CHOSEN] = labels[clicked]
        url_state.put(PAGE, None)
        st.rerun()
    chosen: str | None = st.session_state.get(_CHOSEN)
    if chosen in labels:
        _show_class(images, chosen)


def _show_class(images: TrainingSet, label: str) -> None:
    members = images.images(label)
    st.subheader(escape(f"{label}: {count(len(members), 'image', 'images')}"), anchor=False)
    with st.popover("Edit class", icon=":material/edit:"):
        st.text_input("Name", label, key=f"name of {label}", on_change=_rename, args=(label,))
        st.button(
            "Remove class",
            icon=":material/delete:",
            on_click=_remove_class,
            args=(label,),
        )

    def tile(index: int) -> Tile:
        file = members[index].file
        name = shorten(file.name.rpartition("/")[2], 24)
        digest = file.digest
        key = f"remove {digest[:16]}"
        return Tile(images.thumbnail(digest), f"Remove {name}", f"The image {file.name}", key=key)

    clicked = image_grid.show(
        PAGE, len(members), tile, page=url_state.get(PAGE), on_page_change=url_state.put
    )
    if clicked is not None:
        images.remove(members[clicked].file.digest)
        st.rerun()


def _rename(label: str) -> None:
    new_label = st.session_state[f"name of {label}"]
    _report(None)
    try:
        st.session_state[_CHOSEN] = _current_or_new().rename_class(label, new_label)
    except TrainingSetError as error:
        _report(str(error))


def _remove_class(label: str) -> None:
    _report(None)
    _current_or_new().remove_class(label)
    st.session_state.pop(_CHOSEN, None)
