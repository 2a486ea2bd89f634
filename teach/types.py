"""Types of few-shot teaching: examples in, a taught model and its measurements out."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evaluation.intervals import Interval

Floats = NDArray[np.float32]
Indices = NDArray[np.intp]

# Returns the L2-normalized features (D,) of each image file, or None for a file that is no image.
Embed = Callable[[Sequence[bytes]], list[Floats | None]]
# Receives what is being done, for the user, and the share of the whole work, in [0, 1].
Progress = Callable[[str, float], None]


@dataclass(frozen=True, slots=True)
class Example:
    """An image file and its label; `name` identifies it in messages."""

    label: str
    content: bytes
    name: str


@dataclass(frozen=True, slots=True)
class Backbone:
    """The model that computes the features: `sha256` is that of its weights file.

    `preprocess` is the field of its manifest, `dimensions` the number of features of an image.
    """

    name: str
    version: str
    sha256: str
    preprocess: Mapping[str, Any]
    dimensions: int


@dataclass(frozen=True, slots=True)
class Suspect:
    """An image that is probably mislabeled, or hard.

    `index` is its position in the examples, `probability` that of its `label` according to a head
    that was trained without it, and `prediction` that head's answer.
    """

    index: int
    name: str
    label: str
    prediction: str
    probability: float


@dataclass(frozen=True)
class Report:
    """Measurements by cross-validation; each image is measured with heads trained without it.

    `confusion` has shape (C, C): rows are the labels of the images, columns the predictions.
    `suspects` are sorted, the least probable label first. `unusable` names the files that are no
    images. `warnings` are sentences for the user. `ood_auroc` says how well the out-of-distribution
    score separates the images from images of other things, and is None if it was not measured.
    `mean_set_size` is that of 95% prediction sets.
    """

    labels: tuple[str, ...]
    counts: tuple[int, ...]
    accuracy: float
    interval: Interval
    confusion: NDArray[np.intp]
    suspects: tuple[Suspect, ...]
    unusable: tuple[str, ...]
    warnings: tuple[str, ...]
    ood_method: str
    ood_auroc: float | None
    mean_set_size: float
    seconds: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class TaughtModel:
    """A head on a backbone: the content of its three files, and the report."""

    manifest: Mapping[str, Any]
    head: bytes
    card: str
    report: Report

    def write(self, folder: Path) -> None:
        """Write the model folder `folder`; raise FileExistsError if it exists."""
        from teach.model_folder import write  # imports this module

        write(self, folder)
