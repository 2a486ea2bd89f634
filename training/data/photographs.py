"""Labeled photographs for fine-tuning, split into a part to train on and a held-out part."""

import hashlib
import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from tqdm import tqdm

from backend.inference.errors import ImageError
from backend.inference.images.image_reader import ImageReader
from backend.inference.preprocessing.photos import PhotoPreprocess, prepare_photo
from backend.inference.types import Floats
from evaluation.sources.base import Source
from evaluation.types import Sample

MIN_IMAGES = 5  # of each class
MAX_LISTED = 5  # in a message


class DatasetError(Exception):
    """The images cannot be used for training; the message says why."""


@dataclass(frozen=True)
class LabeledPhotographs:
    """Photographs with class indices; the parts have no image file in common.

    `train_images` are RGB images with the shorter side of the preprocessing, from which crops are
    taken; the rows are the inputs (N, *input) of both parts as in serving.
    """

    labels: tuple[str, ...]
    train_images: tuple[Image.Image, ...]
    train_rows: Floats
    train_truth: NDArray[np.intp]
    test_rows: Floats
    test_truth: NDArray[np.intp]
    unusable: tuple[str, ...]
    duplicates: int

    def describe(self) -> str:
        """Return a sentence for the user."""
        parts = [
            f"{len(self.labels)} classes, {len(self.train_images)} images to train on, "
            f"{len(self.test_truth)} held out"
        ]
        if self.duplicates:
            parts.append(f"{self.duplicates} duplicates are left out")
        if self.unusable:
            names = ", ".join(self.unusable[:MAX_LISTED])
            names += ", …" if len(self.unusable) > MAX_LISTED else ""
            parts.append(f"{len(self.unusable)} files are no usable images ({names})")
        return "; ".join(parts)


def read_photographs(
    source: Source, spec: PhotoPreprocess, held_out: float, seed: int
) -> LabeledPhotographs:
    """Decode the images of a source, and hold out a share of each class at random.

    Raise DatasetError for fewer than two classes or MIN_IMAGES usable images of a class, and if
    the same file has two labels.
    """
    reader = ImageReader()
    images: list[Image.Image] = []
    rows: list[Floats] = []
    truth: list[str] = []
    unusable: list[str] = []
    seen: dict[bytes, tuple[str, str]] = {}
    duplicates = 0
    for sample in tqdm(source.samples(), total=len(source), desc="decoding", disable=None):
        if sample.label is None:
            continue
        if not isinstance(sample, Sample):
            unusable.append(sample.name)
            continue
        name, label = seen.setdefault(
            hashlib.sha256(sample.content).digest(), (sample.name, sample.label)
        )
        if label != sample.label:
            raise DatasetError(
                f"{name} and {sample.name} are the same image, labeled {label!r} and "
                f"{sample.label!r}; delete one of them"
            )
        if name != sample.name:
            duplicates += 1
            continue
        try:
            with reader.read(sample.content, spec.decoded_side) as image:
                rows.append(prepare_photo(image, spec))
                images.append(_reduce(image, spec))
        except ImageError:
            unusable.append(sample.name)
            continue
        truth.append(sample.label)
    labels = tuple(sorted(set(truth)))
    _require_enough(labels, truth)
    indices = np.array([labels.index(label) for label in truth])
    test = _hold_out(indices, held_out, seed)
    train = np.setdiff1d(np.arange(len(truth)), test)
    inputs = np.stack(rows)
    return LabeledPhotographs(
        labels=labels,
        train_images=tuple(images[index] for index in train),
        train_rows=inputs[train],
        train_truth=indices[train],
        test_rows=inputs[test],
        test_truth=indices[test],
        unusable=tuple(unusable),
        duplicates=duplicates,
    )


def _reduce(image: Image.Image, spec: PhotoPreprocess) -> Image.Image:
    """Return a copy with the shorter side of the preprocessing."""
    assert isinstance(spec.resize, int)  # noqa: S101
    scale = spec.resize / min(image.size)
    width, height = (max(round(scale * side), spec.resize) for side in image.size)
    return image.resize((width, height), Image.Resampling.BICUBIC)


def _hold_out(truth: NDArray[np.intp], share: float, seed: int) -> NDArray[np.intp]:
    """Return the sorted indices of the held-out images, at least one of each class."""
    order = np.random.default_rng(seed).permutation(len(truth))
    parts = []
    for index in np.unique(truth):
        own = order[truth[order] == index]
        parts.append(own[: math.ceil(share * len(own))])
    return np.sort(np.concatenate(parts))


def _require_enough(labels: tuple[str, ...], truth: list[str]) -> None:
    if len(labels) < 2:
        raise DatasetError("the source has fewer than two classes with usable images")
    if few := [label for label in labels if truth.count(label) < MIN_IMAGES]:
        names = ", ".join(map(repr, few[:MAX_LISTED]))
        raise DatasetError(
            f"fine-tuning needs {MIN_IMAGES} images of each class; there are fewer of {names}. "
            "To teach a model from fewer images, use `python -m teach`"
        )
