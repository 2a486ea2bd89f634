"""The head of a taught model: a linear layer for the features of another model, its backbone."""

from dataclasses import dataclass
from typing import Final

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load

from backend.inference.errors import ArtifactError
from backend.inference.models.artifact import HEAD, Artifact
from backend.inference.types import Floats

MAX_HEAD_BYTES: Final = 16_000_000
MAX_VALUE: Final = 1e6  # of a tensor; logits could overflow with larger ones
TRAINING_TENSORS: Final = {"training_features", "training_targets"}  # for a new version; not used

_CENTER_TOLERANCE: Final = 1e-3  # of the L2 norm of a center, which is 1


@dataclass(frozen=True, slots=True)
class Head:
    """A linear layer for L2-normalized features (N, D).

    `centers` are typical features of the labels, L2-normalized after `origin` was subtracted; they
    are only kept for a model whose out-of-distribution score is the feature distance.
    """

    weight: Floats  # shape (C, D)
    bias: Floats  # shape (C,)
    centers: Floats | None  # shape (K, D)
    origin: Floats | None  # shape (D,); None: zero

    @property
    def dimensions(self) -> int:
        """Number of features, D."""
        return len(self.weight[0])

    def logits(self, features: Floats) -> Floats:
        """Map features (N, D) to logits (N, C)."""
        scores: Floats = features @ self.weight.T + self.bias
        return scores


def read_head(artifact: Artifact) -> Head:
    """Read and check the head of a taught model.

    Raise ArtifactError, which names the folder and the reason, unless the file is a safetensors
    file with the finite float32 tensors `weight` (C, D), `bias` (C,) and, if the model's score is
    the feature distance, `centers` (K, D) and optionally `origin` (D,).
    """
    folder, manifest = artifact.folder, artifact.manifest
    if artifact.head is None:
        raise ArtifactError(f"{folder}: no {HEAD}")
    try:
        size = artifact.head.stat().st_size
        if size > MAX_HEAD_BYTES:
            raise ArtifactError(
                f"{folder}: {HEAD} has {size:,} bytes, more than {MAX_HEAD_BYTES:,}"
            )
        content = load(artifact.head.read_bytes())
    except (SafetensorError, OSError, ValueError, KeyError) as error:
        raise ArtifactError(f"{folder}: {HEAD} is damaged, or not a safetensors file") from error
    tensors = {name: content[name] for name in content.keys() - TRAINING_TENSORS}
    if not {"weight", "bias"} <= tensors.keys() <= {"weight", "bias", "centers", "origin"}:
        raise ArtifactError(
            f"{folder}: {HEAD} must contain weight and bias, may contain centers, origin and the "
            "features of training images, and no others"
        )
    labels = len(manifest.labels)
    shape = tensors["weight"].shape
    centers = tensors.get("centers")
    rows = {"weight": (labels,), "bias": (labels,), "origin": ()}
    rows["centers"] = centers.shape[:1] if centers is not None and len(centers) else (labels,)
    for name, values in sorted(tensors.items(), reverse=True):  # the weight first
        expected = rows[name] if name == "bias" else (*rows[name], *shape[1:2])
        if len(shape) != 2 or values.shape != expected or values.dtype != np.float32:
            raise ArtifactError(
                f"{folder}: {HEAD}: {name} is {values.dtype} of shape {values.shape}; with "
                f"{labels} labels, weight is float32 of shape ({labels}, D), bias ({labels},), "
                "centers (K, D) and origin (D,)"
            )
        if not (np.abs(values) <= MAX_VALUE).all():  # also for NaN
            raise ArtifactError(
                f"{folder}: {HEAD}: {name} contains a value that is not finite or above "
                f"{MAX_VALUE:,.0f}"
            )
    if manifest.calibration is None or manifest.calibration.ood_method != "feature_distance":
        centers = None
    elif centers is None:
        raise ArtifactError(f"{folder}: {HEAD}: the feature distance requires centers")
    elif np.abs(np.linalg.norm(centers, axis=1) - 1).max() > _CENTER_TOLERANCE:
        raise ArtifactError(f"{folder}: {HEAD}: each of the centers must have an L2 norm of 1")
    return Head(tensors["weight"], tensors["bias"], centers, tensors.get("origin"))
