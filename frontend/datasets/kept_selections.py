"""Selected images and their classifications in the page's store. Imports no Streamlit.

They are stored in a thread, and found again by the token in the URL after a restart of the page's
process. Images whose user turned storing off, and large selections, are not stored.
"""

import logging
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from client import Classification
from frontend.datasets.selections import ImageSelection
from frontend.service.predictions import ImageFile, PredictionRequest
from frontend.state import store_settings
from frontend.state.packing import pack, unpack
from frontend.state.stored_result import PackingError, StoredResult, StoreError

if TYPE_CHECKING:
    from frontend.state.page_store import PageStore

MAX_BYTES: Final = 50_000_000  # of the images of a selection that is stored
KIND: Final = "selection"

log = logging.getLogger("prism.page")


@dataclass(frozen=True, slots=True)
class _KeptImage:
    name: str
    content: bytes
    error: str | None


@dataclass(frozen=True, slots=True)
class _KeptSelection:
    images: list[_KeptImage]
    request: PredictionRequest
    outcomes: list[Classification | None]  # errors are not stored: the images are sent again
    corrections: dict[str, str]


def keep(selection: ImageSelection, request: PredictionRequest) -> None:
    """Store the selection in another thread if it may be stored and has changed."""
    store = store_settings.store()
    if store is None or not request.store or selection.is_discarded:
        return
    if sum(image.size for image in selection.images) > MAX_BYTES:
        return
    outcomes = selection.outcomes(request)
    version = (request.key, sum(one is not None for one in outcomes), dict(selection.corrections))
    if selection.stored_version != version:
        selection.stored_version = version
        _writer.submit(_put, store, selection, request)


def find(token: str) -> ImageSelection | None:
    """Return the stored selection of that token; None if there is none or it cannot be read."""
    store = store_settings.store()
    try:
        stored = store.find(token, KIND) if store else None
        kept = unpack(stored.content or b"", _KeptSelection) if stored else None
    except (StoreError, PackingError) as error:
        log.warning("stored images cannot be read: %s", error)
        return None
    if kept is None:
        return None
    images = [ImageFile(image.name, image.content, image.error) for image in kept.images]
    selection = ImageSelection(images, token=token)
    selection.last_request = kept.request
    selection.corrections.update(kept.corrections)
    for image, outcome in zip(images, kept.outcomes, strict=False):
        if outcome is not None:
            selection.cache.put(image, kept.request, outcome)
    return selection


def discard(selection: ImageSelection) -> None:
    """Delete the stored selection after the writes in progress; jobs do not store it again."""
    selection.is_discarded = True
    if (store := store_settings.store()) is not None:
        _writer.submit(_delete, store, selection.token)


def wait() -> None:
    """Wait until the calls so far have been carried out."""
    _writer.submit(lambda: None).result()


_writer: Final = ThreadPoolExecutor(1, thread_name_prefix="selections")


def _put(store: "PageStore", selection: ImageSelection, request: PredictionRequest) -> None:
    if selection.is_discarded:
        return
    try:
        content = pack(
            _KeptSelection(
                [_KeptImage(image.name, image.content, image.error) for image in selection.images],
                request,
                [
                    one if isinstance(one, Classification) else None
                    for one in selection.outcomes(request)
                ],
                dict(selection.corrections),
            )
        )
        store.put(selection.token, KIND, StoredResult("done", "", content=content))
    except StoreError as error:
        log.warning("images cannot be stored: %s", error)
    except Exception:  # the images remain in memory
        log.exception("images cannot be stored")


def _delete(store: "PageStore", token: str) -> None:
    try:
        store.delete(token)
    except StoreError as error:
        log.warning("stored images cannot be deleted: %s", error)
