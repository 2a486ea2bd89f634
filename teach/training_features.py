"""Features of the training images in the head file, so that a new version forgets nothing.

The server does not use them. They show roughly what is in an image: they are as confidential.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load

from calibration import apply
from teach.errors import TeachError
from teach.types import Backbone, Floats, Indices

FEATURES: Final = "training_features"  # uint8 (N, D), a linear scale for each image
TARGETS: Final = "training_targets"  # uint16 (N,), class indices
MAX_IMAGES: Final = 400  # of all classes; 1.3 kB each
_LEVELS: Final = 255


@dataclass(frozen=True)
class TrainingFeatures:
    """L2-normalized features (N, D) of training images, and the label of each."""

    features: Floats
    labels: tuple[str, ...]


def pack(features: Floats, truth: Indices) -> dict[str, NDArray[Any]]:
    """Return the tensors for features (N, D) with class indices (N,); at most MAX_IMAGES.

    Of more images, each class keeps an equal number, chosen at random.
    """
    classes = int(truth.max()) + 1
    order = np.random.default_rng(0).permutation(len(truth))
    if len(truth) > MAX_IMAGES:
        rank = np.empty(len(truth), np.intp)  # of an image within its class
        for label in range(classes):
            members = order[truth[order] == label]
            rank[members] = np.arange(len(members))
        order = order[np.argsort(rank[order], kind="stable")][:MAX_IMAGES]
    kept = np.sort(order)
    chosen = features[kept]
    levels = np.rint(_LEVELS * chosen / np.maximum(chosen.max(axis=1, keepdims=True), 1e-12))
    return {
        FEATURES: levels.clip(0, _LEVELS).astype(np.uint8),
        TARGETS: truth[kept].astype(np.uint16),
    }


def read(manifest: Mapping[str, Any], head: bytes, backbone: Backbone) -> TrainingFeatures:
    """Return the training features in a head; raise TeachError if they cannot be used."""
    if manifest["backbone"]["sha256"] != backbone.sha256:
        raise TeachError(
            f"The model was taught on other weights of {backbone.name}. Teach it from images."
        )
    try:
        tensors = load(head)
        levels, targets = tensors[FEATURES], tensors[TARGETS]
        labels = tuple(manifest["labels"][target] for target in targets.tolist())
        if levels.dtype != np.uint8 or levels.shape != (len(targets), backbone.dimensions):
            raise ValueError("the shapes do not match")
    except (SafetensorError, KeyError, IndexError, TypeError, ValueError) as error:
        raise TeachError(
            "This version does not contain the features of its training images. Teach it from "
            "images."
        ) from error
    return TrainingFeatures(apply.normalize(levels.astype(np.float32)), labels)
