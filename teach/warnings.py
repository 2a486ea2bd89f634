"""What the examples do not suffice for, in words for the user."""

import math
from collections.abc import Sequence
from typing import Final

from calibration.apply import COVERAGES
from evaluation.intervals import Interval
from teach.dataset import Dataset, list_names

FEW_IMAGES: Final = 5  # of a class
IMBALANCE: Final = 10  # ratio of the largest to the smallest class
WIDE_INTERVAL: Final = 0.2
RELIABLE_AUROC: Final = 0.9


def find(
    data: Dataset, interval: Interval, ood_auroc: float | None, *, is_optimistic: bool
) -> tuple[str, ...]:
    """Return one or two sentences for each limitation of the measurements and promises."""
    found = []
    few = [
        label for label, count in zip(data.labels, data.counts, strict=True) if count < FEW_IMAGES
    ]
    if few:
        found.append(f"Fewer than {FEW_IMAGES} images: {list_names(few)}. Add images; about 10 of "
                     "each class are enough for a first model.")  # fmt: skip
    found += _find_similar_names(data.labels)
    if max(data.counts) > IMBALANCE * min(data.counts):
        small = data.labels[data.counts.index(min(data.counts))]
        found.append(
            f"The largest class has more than {IMBALANCE} times as many images as {small}, which "
            "will therefore be predicted too rarely. Add images of the small classes."
        )
    if interval.high - interval.low > WIDE_INTERVAL:
        found.append(
            f"The accuracy is only known to be between {interval.low:.0%} and {interval.high:.0%}, "
            "because there are few images. Add images for a more reliable figure."
        )
    found += _find_missing_coverages(sum(data.counts))
    if is_optimistic:
        found.append(
            "Many images of a class are nearly equal, such as consecutive images of a camera. The "
            "measured accuracy is therefore too high for other images. Add images with another "
            "background, light or object."
        )
    if data.repeated:
        found.append(f"Copies of the same image were used once: {data.repeated:,}.")
    if ood_auroc is None:
        found.append(
            "How well images of other things are recognized could not be measured for this "
            "backbone."
        )
    elif ood_auroc < RELIABLE_AUROC:
        found.append(
            "Images of other things are often not recognized as such "
            f"(AUROC {ood_auroc:.2f}). Add the class “None of these” with images of what the model "
            "will also see."
        )
    return tuple(found)


def _find_similar_names(labels: Sequence[str]) -> list[str]:
    """Return the warning for classes whose names differ only in upper and lower case."""
    names: dict[str, str] = {}
    similar = [
        f"{first} and {label}"
        for label in labels
        if (first := names.setdefault(label.casefold(), label)) != label
    ]
    return [f"Different classes with nearly the same name: {list_names(similar)}. Merge them if "
            "they mean the same."] if similar else []  # fmt: skip


def _find_missing_coverages(images: int) -> list[str]:
    """Return the warning for coverages that need more images, whose sets have all labels."""
    needed = {coverage: math.ceil(1 / (1 - coverage) - 1e-9) - 1 for coverage in COVERAGES}
    missing = [coverage for coverage in COVERAGES if images < needed[coverage]]
    if not missing:
        return []
    listed = " and ".join(f"{coverage:.0%}" for coverage in missing)
    return [
        f"There are too few images ({images}) for prediction sets with a coverage of {listed}: "
        f"these contain every label. {missing[0]:.0%} needs {needed[missing[0]]} images."
    ]
