"""Examples -> features with class indices, after all checks."""

import hashlib
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Collection, Iterable, MutableMapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from calibration.apply import NONE_OF_THESE
from evaluation.escaping import escape_unprintable
from teach.errors import TeachCancelled, TeachError
from teach.limits import MAX_CLASSES, MAX_IMAGES, MAX_LABEL, MIN_CLASSES, MIN_IMAGES
from teach.training_features import TrainingFeatures
from teach.types import Embed, Example, Floats, Indices

BATCH_IMAGES: Final = 32  # of one call of `embed`
BATCH_BYTES: Final = 8_000_000
NEAR_DUPLICATE: Final = 0.985  # cosine; different photographs of one class have 0.84 at most
_MAX_NAMES: Final = 3  # in a message


@dataclass(frozen=True)
class Dataset:
    """Usable examples: L2-normalized features (N, D) and class indices (N,).

    `indices` are the positions of the images in the examples, -1 for images of a predecessor.
    `unusable` names the files that are no images, `repeated` is the number of further copies of
    images, which are left out.
    """

    labels: tuple[str, ...]
    features: Floats
    truth: Indices
    indices: tuple[int, ...]
    names: tuple[str, ...]
    unusable: tuple[str, ...]
    repeated: int

    @property
    def counts(self) -> tuple[int, ...]:
        """Number of images of each class."""
        return tuple(np.bincount(self.truth, minlength=len(self.labels)).tolist())

    @property
    def none_index(self) -> int | None:
        """Index of the class of images of none of the other classes."""
        return self.labels.index(NONE_OF_THESE) if NONE_OF_THESE in self.labels else None


@dataclass(frozen=True, slots=True)
class _Image:
    index: int
    label: str
    name: str
    digest: str


def embed_examples(
    examples: Collection[Example],
    embed: Embed,
    dimensions: int,
    *,
    cache: MutableMapping[str, Floats],
    progress: Callable[[float], None],
    is_cancelled: Callable[[], bool],
    predecessor: TrainingFeatures | None = None,
) -> Dataset:
    """Return the features of the examples, computed in batches unless `cache` has them.

    Those of a `predecessor` are appended, unless an example is nearly equal. The keys of `cache`
    are SHA-256 digests in hexadecimal. Raise TeachError if the examples cannot be used, and
    TeachCancelled if `is_cancelled` returns true.
    """
    images: list[_Image] = []
    batch: dict[str, bytes] = {}
    failed: set[str] = set()

    def run() -> None:
        if is_cancelled():
            raise TeachCancelled("The training was stopped.")
        for digest, features in zip(batch, embed(list(batch.values())), strict=True):
            if features is None:
                failed.add(digest)
            else:
                cache[digest] = _check(features, dimensions)
        batch.clear()

    total = len(examples)
    if total > MAX_IMAGES:
        raise TeachError(
            f"There are {total:,} images; the limit is {MAX_IMAGES:,}. Use a part of them: a "
            "hundred of each class are enough."
        )
    for index, example in enumerate(examples):
        digest = hashlib.sha256(example.content).hexdigest()
        images.append(_Image(index, clean_label(example.label), example.name, digest))
        if digest not in cache and digest not in failed:
            if example.content:
                batch[digest] = example.content
            else:
                failed.add(digest)
        if len(batch) == BATCH_IMAGES or sum(map(len, batch.values())) > BATCH_BYTES:
            run()
        progress((index + 1) / total)
    if batch:
        run()
    usable = [image for image in images if image.digest not in failed]
    unusable = [image.name for image in images if image.digest in failed]
    return _build(usable, cache, unusable, predecessor)


def clean_label(label: str) -> str:
    """Return a label in Unicode's composed form, without blanks at the ends.

    Raise TeachError if it is empty, too long or has characters that cannot be displayed.
    """
    text = unicodedata.normalize("NFC", label).strip()
    shown = escape_unprintable(text)[:MAX_LABEL]
    if not text:
        raise TeachError("A class has no name; give each class a name.")
    if len(text) > MAX_LABEL:
        raise TeachError(
            f"The class name {shown}… has {len(text)} characters; shorten it to {MAX_LABEL}."
        )
    if not text.isprintable():
        raise TeachError(
            f"The class name {shown} has characters that cannot be displayed; rename the class."
        )
    return text


def check_counts(labels: Iterable[str]) -> tuple[str, ...]:
    """Return the classes of the images' `labels`, numbers in their order, NONE_OF_THESE last.

    Raise TeachError if there are too few or too many classes, or too few images of one.
    """
    counts = Counter(labels)
    if len(counts) < MIN_CLASSES:
        raise TeachError(
            f"All images are of one class, {next(iter(counts), 'which is empty')}: add images of "
            f"another class, or a class named “{NONE_OF_THESE}” with images of other things."
        )
    if len(counts) > MAX_CLASSES:
        raise TeachError(
            f"There are {len(counts)} classes; the limit is {MAX_CLASSES}. Remove or merge classes."
        )
    small = [label for label, count in counts.items() if count < MIN_IMAGES]
    if small:
        raise TeachError(
            f"{list_names(small)} {'has' if len(small) == 1 else 'have'} fewer than {MIN_IMAGES} "
            "usable images; add images, or remove the class."
        )
    return tuple(sorted(counts, key=lambda label: (label == NONE_OF_THESE, _natural_key(label))))


def _build(
    images: list[_Image],
    cache: MutableMapping[str, Floats],
    failed: list[str],
    predecessor: TrainingFeatures | None,
) -> Dataset:
    if not images:
        raise TeachError(
            "None of the files can be read as an image. Use images in a format such as JPEG, PNG, "
            "WebP, TIFF or HEIC."
        )
    firsts: dict[str, _Image] = {}
    conflicts = [
        (first, image)
        for image in images
        if (first := firsts.setdefault(image.digest, image)).label != image.label
    ]
    if conflicts:
        a, b = conflicts[0]
        others = f" {len(conflicts) - 1:,} more images have two classes." if conflicts[1:] else ""
        raise TeachError(
            f"The same image has two classes: {a.name} ({a.label}) and {b.name} ({b.label}); "
            f"remove one of them.{others}"
        )
    kept = list(firsts.values())
    features = np.stack([cache[image.digest] for image in kept])
    old_labels: list[str] = []
    if predecessor is not None:
        is_old = (predecessor.features @ features.T).max(axis=1) < NEAR_DUPLICATE
        features = np.concatenate([features, predecessor.features[is_old]])
        old_labels = [
            label for label, is_kept in zip(predecessor.labels, is_old, strict=True) if is_kept
        ]
    truth = [*(image.label for image in kept), *old_labels]
    labels = check_counts(truth)
    positions = {label: position for position, label in enumerate(labels)}
    return Dataset(
        labels=labels,
        features=features,
        truth=np.array([positions[label] for label in truth], np.intp),
        indices=(*(image.index for image in kept), *(-1 for _ in old_labels)),
        names=(*(image.name for image in kept), *("" for _ in old_labels)),
        unusable=tuple(failed),
        repeated=len(images) - len(kept),
    )


def _check(features: Floats, dimensions: int) -> Floats:
    if features.shape != (dimensions,) or not np.isfinite(features).all():
        raise TeachError(f"The backbone did not return {dimensions} finite numbers for an image.")
    return features.astype(np.float32, copy=False)


def list_names(names: Sequence[str]) -> str:
    """Return the first names, and how many more there are."""
    more = f" and {len(names) - _MAX_NAMES} more" if len(names) > _MAX_NAMES else ""
    return ", ".join(names[:_MAX_NAMES]) + more


def _natural_key(label: str) -> list[tuple[bool, int, str]]:
    """Sort 2 before 10, numbers before words, and words without regard to case."""
    parts = re.split(r"([0-9]+)", label.casefold())
    is_number = [index % 2 == 1 for index in range(len(parts))]
    return [
        (not number, int(part) if number else 0, part)
        for number, part in zip(is_number, parts, strict=True)
        if part
    ]
