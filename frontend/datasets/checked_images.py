"""Images of the history whose answer a person checked. Imports no Streamlit.

One fifth of them, chosen by their content, is never used for training: the versions of a taught
model are compared on it.
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from client import BackendError, Client, HistoryFilters, StoredClassification
from frontend.service.predictions import ImageFile
from frontend.service.teaching import NONE_OF_THESE

HELD_OUT: Final = 5  # one of so many images
MAX_CHECKED: Final = 2_000  # newest classifications
_PAGE: Final = 500
_NOT_FOUND: Final = 404


@dataclass(frozen=True, slots=True)
class CheckedImage:
    """A stored image with its right label, NONE_OF_THESE for none of the model's classes.

    `is_wrong` is whether the feedback contradicts the answer.
    """

    file: ImageFile
    label: str
    is_wrong: bool


@dataclass(frozen=True)
class CheckedImages:
    """Checked images, each content once.

    `left_out` counts those whose label is not one of the model's, `without_image` the checked
    classifications without a stored image.
    """

    training: Sequence[CheckedImage]
    held_out: Sequence[CheckedImage]
    left_out: int
    without_image: int


def is_held_out(content: bytes) -> bool:
    """Return whether an image is one of those that are not used for training."""
    return hashlib.sha256(content).digest()[0] % HELD_OUT == 0


def collect(
    client: Client,
    model: str,
    labels: Sequence[str],
    is_cancelled: Callable[[], bool] = lambda: False,
) -> CheckedImages:
    """Return the checked images that `model` classified; raise ClientError.

    Of several copies of an image, the latest feedback applies.
    """
    checked = _checked(client, model)
    images: dict[str, CheckedImage] = {}
    left_out = 0
    for stored in checked:
        if is_cancelled():
            break
        label = _right_label(stored)
        if label not in labels and label != NONE_OF_THESE:
            left_out += 1
        elif stored.image and (file := _load(client, stored)) is not None:
            images[file.digest] = CheckedImage(file, label, is_wrong(stored, label))
    return CheckedImages(
        [image for image in images.values() if not is_held_out(image.file.content)],
        [image for image in images.values() if is_held_out(image.file.content)],
        left_out,
        sum(not stored.image for stored in checked),
    )


def is_wrong(stored: StoredClassification, label: str) -> bool:
    """Return whether an answer contradicts the right label."""
    return not is_right(label, stored.prediction, stored.in_distribution)


def is_right(label: str, prediction: str, in_distribution: bool | None) -> bool:
    """Return whether an answer agrees with the right label, as the accuracy of History counts."""
    if label == NONE_OF_THESE:
        return in_distribution is False or prediction == NONE_OF_THESE
    return in_distribution is not False and prediction == label


def _checked(client: Client, model: str) -> list[StoredClassification]:
    """Return the newest checked classifications, in the order of their feedback."""
    filters = HistoryFilters(model=model, corrected=True)
    found: list[StoredClassification] = []
    cursor: str | None = None
    while len(found) < MAX_CHECKED:
        page = client.history.page(filters, limit=_PAGE, cursor=cursor)
        found += page.items
        cursor = page.next
        if cursor is None:
            break
    oldest = datetime.min.replace(tzinfo=UTC)
    return sorted(found[:MAX_CHECKED], key=lambda one: one.corrected_at or oldest)


def _right_label(stored: StoredClassification) -> str:
    if stored.none_of_these or stored.correction is None or stored.correction_model is not None:
        return NONE_OF_THESE
    return stored.correction


def _load(client: Client, stored: StoredClassification) -> ImageFile | None:
    """Return the stored image, or None if it was deleted meanwhile."""
    try:
        content = client.history.image(stored.id)
    except BackendError as error:
        if error.status == _NOT_FOUND:
            return None
        raise
    return ImageFile(stored.filename or f"{stored.id}.webp", content)
