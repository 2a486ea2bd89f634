"""The images of a model's future classes, which a user collects. Imports no Streamlit."""

import secrets
import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

from evaluation.errors import EvaluationError
from evaluation.thumbnails import create_thumbnail_uri
from evaluation.types import Sample
from frontend.datasets.archives import count_open_zips
from frontend.datasets.dataset import Dataset
from frontend.service.predictions import ImageFile
from frontend.state import memory
from frontend.ui.formatting import megabytes
from teach.limits import MAX_CLASSES, MAX_LABEL, MIN_CLASSES, MIN_IMAGES

MAX_IMAGES: Final = 5_000  # of all classes; fewer than teach.limits.MAX_IMAGES: pages keep them
MAX_BYTES: Final = 500_000_000  # of all images; less in a small container
CACHED_THUMBNAILS: Final = 512


class TrainingSetError(EvaluationError):
    """Images or a class cannot be added; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class TrainingImage:
    """An image file and its class."""

    label: str
    file: ImageFile


class TrainingSet:
    """Labeled images, each content once. Thread-safe.

    `embeddings` caches the features of each image by the SHA-256 of its content, so that only new
    images are embedded when the model is taught again.
    """

    def __init__(self) -> None:
        self.token: Final = secrets.token_urlsafe(12)
        self.embeddings: Final[dict[str, Any]] = {}
        self.thumbnail: Final = lru_cache(CACHED_THUMBNAILS)(self._create_thumbnail)
        self._images: dict[str, TrainingImage] = {}  # by digest
        self._labels: dict[str, None] = {}  # ordered
        self._lock = threading.Lock()

    @property
    def size(self) -> int:
        """The number of bytes of all images."""
        return sum(image.file.stored_size for image in self.images())

    @property
    def open_zips(self) -> int:
        """The number of zips that the images keep open."""
        return count_open_zips(image.file for image in self.images())

    @property
    def labels(self) -> tuple[str, ...]:
        """The classes, in the order of their creation."""
        with self._lock:
            return tuple(self._labels)

    def images(self, label: str | None = None) -> list[TrainingImage]:
        """Return all images, or those of one class."""
        with self._lock:
            return [image for image in self._images.values() if label in (None, image.label)]

    def find(self, digest: str) -> TrainingImage | None:
        """Return the image with this SHA-256, or None."""
        with self._lock:
            return self._images.get(digest)

    def add_class(self, label: str) -> str:
        """Add an empty class, if it is new; return its label without surrounding spaces."""
        label = " ".join(label.split())
        if not label or not label.isprintable():
            raise TrainingSetError("Enter a name for the class.")
        if len(label) > MAX_LABEL:
            raise TrainingSetError(f"Use a name of at most {MAX_LABEL} characters.")
        with self._lock:
            if label not in self._labels and len(self._labels) >= MAX_CLASSES:
                raise TrainingSetError(f"A model can have at most {MAX_CLASSES} classes.")
            self._labels[label] = None
        return label

    def add(self, label: str, files: Iterable[ImageFile]) -> int:
        """Add images to a class and return how many were in the set before.

        Those are moved to this class. Raise TrainingSetError if there are too many images.
        """
        label = self.add_class(label)
        new = {file.digest: file for file in files}
        self._check_limits(new)
        with self._lock:
            known = len(new.keys() & self._images.keys())
            self._images |= {digest: TrainingImage(label, file) for digest, file in new.items()}
        return known

    def relabel(self, digest: str, label: str) -> None:
        """Move an image to another class."""
        if (image := self.find(digest)) is not None:
            self.add(label, [image.file])

    def remove(self, digest: str) -> None:
        """Remove an image."""
        with self._lock:
            self._images.pop(digest, None)

    def remove_class(self, label: str) -> None:
        """Remove a class with its images."""
        with self._lock:
            self._labels.pop(label, None)
            self._images = {
                digest: image for digest, image in self._images.items() if image.label != label
            }

    def rename_class(self, label: str, new_label: str) -> str:
        """Rename a class, or merge it into an existing one; return the new label."""
        new_label = " ".join(new_label.split())
        if new_label == label:
            return label
        files = [image.file for image in self.images(label)]
        self.remove_class(label)
        try:
            self.add(new_label, files)
        except TrainingSetError:
            self.add(label, files)
            raise
        return new_label

    def missing(self) -> str | None:
        """Return what is missing to teach a model, or None."""
        labels = self.labels
        if len(labels) < MIN_CLASSES:
            return f"Add at least {MIN_CLASSES} classes."
        small = [label for label in labels if len(self.images(label)) < MIN_IMAGES]
        if small:
            names = ", ".join(f"“{label}”" for label in small[:3])
            more = f" and {len(small) - 3} more" if len(small) > 3 else ""
            return f"Each class needs at least {MIN_IMAGES} images: add some to {names}{more}."
        return None

    def _check_limits(self, new: dict[str, ImageFile]) -> None:
        with self._lock:
            files = {digest: image.file for digest, image in self._images.items()} | new
        size, max_size = sum(file.size for file in files.values()), memory.share(MAX_BYTES)
        if len(files) > MAX_IMAGES or size > max_size:
            raise TrainingSetError(
                f"The training images would be {len(files):,} ({megabytes(size)}); the limit is "
                f"{MAX_IMAGES:,} images and {megabytes(max_size)}. Use fewer or smaller images: "
                "ten to a hundred of each class are enough."
            )

    def _create_thumbnail(self, digest: str) -> str | None:
        """Return an image of at most 96 px as a data URI, or None if it cannot be shown."""
        image = self.find(digest)
        return create_thumbnail_uri(image.file.content) if image else None


def add_dataset(
    images: TrainingSet, data: Dataset, skip: Callable[[bytes], bool] | None = None
) -> Sequence[str]:
    """Add the images of a labeled dataset and return notes; raise TrainingSetError.

    Images whose content `skip` returns true for are left out, to compare models on them.
    """
    labels = sorted(data.source.labels)
    count = len({*images.labels, *labels})
    if count > MAX_CLASSES:
        raise TrainingSetError(
            f"“{data.name}” has {len(labels):,} class folders; a model can have at most "
            f"{MAX_CLASSES} classes."
        )
    if len(data.source) > MAX_IMAGES:
        raise TrainingSetError(
            f"“{data.name}” has {len(data.source):,} images; the limit is {MAX_IMAGES:,}."
        )
    files: dict[str, list[ImageFile]] = {label: [] for label in labels}
    unreadable, skipped, size, max_size = 0, 0, images.size, memory.share(MAX_BYTES)
    for sample in data.source.samples():
        if not isinstance(sample, Sample) or sample.label is None:
            unreadable += 1
            continue
        if skip is not None and skip(sample.content):
            skipped += 1
            continue
        size += len(sample.content)
        if size > max_size:
            raise TrainingSetError(
                f"“{data.name}” has more than {megabytes(max_size)} of images. Use fewer or "
                "smaller images: ten to a hundred of each class are enough."
            )
        files[sample.label].append(ImageFile(sample.name, sample.content))
    known = sum(images.add(label, added) for label, added in files.items())
    return [
        *data.source.notes,
        *([f"images that cannot be read: {unreadable:,}"] if unreadable else []),
        *([f"kept to compare versions: {skipped:,}"] if skipped else []),
        *([f"images that were already there: {known:,}"] if known else []),
    ]
