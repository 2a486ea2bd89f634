"""Calibrated probabilities, prediction sets and out-of-distribution scores from model outputs.

The parameters are fitted on held-out images (`calibration.fit`) and stored in the manifest as a
`Calibration`.
"""

from collections.abc import Iterable
from typing import Annotated, Final, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, model_validator

Floats = NDArray[np.float32]
OutputKind = Literal["logits", "probabilities"]
OodMethod = Literal["energy", "generalized_entropy", "feature_distance"]

NONE_OF_THESE: Final = "None of these"  # label of a taught model: none of the other classes
COVERAGES: Final = (0.9, 0.95, 0.99)

# The parameters of the generalized entropy, as published for 1,000 classes.
ENTROPY_EXPONENT: Final = 0.1
ENTROPY_CLASSES: Final = 100


class OutputError(ValueError):
    """Model outputs that are not finite, or are not probabilities."""


class SetThreshold(BaseModel):
    """Threshold of the prediction sets of one coverage and one group of confidence.

    For a confidence of at least `min_confidence`, the set has the labels with a probability of at
    least `min_probability`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    coverage: float = Field(gt=0, lt=1)
    min_confidence: float = Field(ge=0, le=1)
    min_probability: float = Field(ge=0, le=1)


class LabelScaling(BaseModel):
    """Scaling of one independent output: its probability is sigmoid(slope * logit + intercept).

    Source: Platt 1999.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    slope: float = Field(ge=1e-3, le=1e3)
    intercept: float = Field(ge=-1e3, le=1e3)


class Calibration(BaseModel):
    """Parameters fitted on held-out images.

    A multi-label model has `scaling` and `thresholds` instead of prediction sets; a binary model
    has `scaling` of its one output.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    temperature: float = Field(
        default=1.0, ge=1e-3, le=1e3, description="logits are divided by it before the softmax"
    )
    scaling: tuple[LabelScaling, ...] | None = Field(
        default=None,
        min_length=1,
        description="for each output of a binary or multi-label model, instead of the temperature",
    )
    thresholds: tuple[Annotated[float, Field(ge=0, le=1)], ...] | None = Field(
        default=None,
        min_length=1,
        description="for each label of a multi-label model, the calibrated probability from which "
        "an image has the label",
    )
    sets: tuple[SetThreshold, ...] = Field(
        default=(),
        description="for each coverage, the threshold with the largest min_confidence that the "
        "confidence reaches applies",
    )
    ood_method: OodMethod = Field(
        default="energy", description="the out-of-distribution score; see `ood_scores`"
    )
    max_ood_score: float | None = Field(
        default=None,
        description="images with a higher score are out of distribution; null: not available",
    )
    pictures: int = Field(
        ge=0, description="number of held-out images; 0: the thresholds were chosen by a person"
    )
    source: str = Field(description="names of the held-out datasets")
    mean_set_size: dict[str, float] = Field(
        default_factory=dict,
        description="average size of the prediction sets on the held-out images, by coverage",
    )

    @model_validator(mode="after")
    def _check_coverages(self) -> "Calibration":
        if self.thresholds is not None:
            if self.sets or self.mean_set_size or self.max_ood_score is not None:
                raise ValueError(
                    "with thresholds, which multi-label models have, sets and mean_set_size must "
                    "be empty and max_ood_score null"
                )
            return self
        if not self.pictures:
            raise ValueError("pictures must be at least 1")
        groups = [(each.coverage, each.min_confidence) for each in self.sets]
        for coverage in COVERAGES:
            if (coverage, 0) not in groups:
                raise ValueError(
                    f"sets need a threshold with coverage {coverage}, min_confidence 0"
                )
        if unknown := {coverage for coverage, _ in groups} - set(COVERAGES):
            raise ValueError(f"sets have coverage {min(unknown)}, which is none of {COVERAGES}")
        if len(set(groups)) < len(groups):
            raise ValueError("sets have two thresholds with the same coverage and min_confidence")
        if set(self.mean_set_size) != set(map(str, COVERAGES)):
            raise ValueError(f"mean_set_size needs one value for each of {COVERAGES}")
        return self


def probabilities(outputs: Floats, kind: OutputKind, temperature: float = 1.0) -> Floats:
    """Return calibrated probabilities of shape (N, C) for outputs of shape (N, C).

    Logits are divided by the temperature before the softmax (Guo et al. 2017); log-probabilities
    are logits, too. Probabilities are raised to the power of 1 / temperature, which is equivalent,
    and normalized to the sum 1. Raise OutputError if an output is not finite, or if a row of
    probabilities has a negative value or no positive one.
    """
    if not np.isfinite(outputs).all():
        raise OutputError("The model returned numbers that are not finite.")
    peaks = outputs.max(axis=1, keepdims=True)
    if kind == "logits":
        positive = np.exp((outputs - peaks) / temperature)
    elif (outputs < 0).any() or (peaks <= 0).any():
        raise OutputError("The model returned numbers that are not probabilities.")
    else:
        positive = (outputs / peaks) ** (1 / temperature)
    scaled: Floats = positive / positive.sum(axis=1, keepdims=True)
    return scaled


def ood_scores(
    logits: Floats, probabilities: Floats | None = None, method: OodMethod = "energy"
) -> Floats:
    """Return a score for logits of shape (N, C), as shape (N,); higher is less like training data.

    The energy is -log(sum(exp(logits))) of the network's logits, not divided by a temperature (Liu
    et al. 2020). All log-probabilities have the energy 0, so they give no useful score.

    The generalized entropy is the sum of (p (1 - p))**0.1 over the 100 largest calibrated
    `probabilities` (Liu et al. 2023), which this method requires. It suits networks that were
    trained with label smoothing, whose energy says little.

    The feature distance does not depend on logits; see `feature_distances`.
    """
    if method == "feature_distance":
        raise ValueError("the feature distance requires features: call feature_distances")
    if method == "generalized_entropy":
        if probabilities is None:
            raise ValueError("the generalized entropy requires probabilities")
        return _generalized_entropies(probabilities)
    peaks = logits.max(axis=1)
    scores: Floats = -(peaks + np.log(np.exp(logits - peaks[:, np.newaxis]).sum(axis=1)))
    return scores


def normalize(features: Floats) -> Floats:
    """Return features of shape (N, D) with an L2 norm of 1 each."""
    norms = np.sqrt(np.einsum("nd,nd->n", features, features))[:, np.newaxis]
    unit: Floats = features / np.maximum(norms, np.finfo(np.float32).tiny)
    return unit


def feature_distances(features: Floats, centers: Floats, origin: Floats | None = None) -> Floats:
    """Return the cosine distance of features to the nearest center of a class, of shape (N,).

    Both `features` (N, D) and `centers` (K, D) have an L2 norm of 1; the distance is in [0, 2], and
    higher is less like the training data. With an `origin` (D,), the angles are those at the
    origin: it is subtracted from the features, as it was from the centers.
    """
    if origin is not None:
        features = normalize(features - origin)
    distances: Floats = 1 - (features @ centers.T).max(axis=1)
    return distances


def _generalized_entropies(probabilities: Floats) -> Floats:
    largest = probabilities
    if probabilities.shape[1] > ENTROPY_CLASSES:
        largest = np.partition(probabilities, -ENTROPY_CLASSES, axis=1)[:, -ENTROPY_CLASSES:]
    # Rounding may exceed 1.
    entropies: Floats = ((largest * (1 - largest)).clip(0) ** ENTROPY_EXPONENT).sum(axis=1)
    return entropies


def prediction_sets(
    probabilities: Floats, sets: Iterable[SetThreshold], coverage: float
) -> NDArray[np.bool_]:
    """Return the prediction sets as a mask of shape (N, C) for probabilities of shape (N, C).

    A set has the labels whose calibrated probability reaches the threshold (split conformal
    prediction, Sadinle et al. 2019), and always the most probable label. Thresholds depend on the
    confidence, so that the coverage also holds for images of low confidence (Mondrian conformal
    prediction, Vovk et al. 2005). Raise ValueError if `sets` has no thresholds for `coverage`.
    """
    confidences = probabilities.max(axis=1)
    thresholds = np.empty_like(confidences)
    for min_confidence, min_probability in reversed(_groups(sets, coverage)):
        thresholds[confidences >= min_confidence] = min_probability
    mask: NDArray[np.bool_] = probabilities >= np.minimum(thresholds, confidences)[:, np.newaxis]
    return mask


class SetSize:
    """Size of the prediction set of one image: a fast `prediction_sets` for a single row."""

    def __init__(self, sets: Iterable[SetThreshold]) -> None:
        sets = tuple(sets)
        self._groups: Final = {each.coverage: _groups(sets, each.coverage) for each in sets}

    def __call__(self, probabilities: Floats, coverage: float) -> int:
        """Return the number of labels in the set, for probabilities of shape (C,).

        Raise ValueError if there are no thresholds for `coverage`.
        """
        if coverage not in self._groups:
            raise _unknown_coverage(coverage)
        confidence = np.maximum.reduce(probabilities)  # `max` calls this through Python
        for min_confidence, min_probability in self._groups[coverage]:  # noqa: B007
            if confidence >= min_confidence:
                break
        return int(np.count_nonzero(probabilities >= min(min_probability, confidence)))


def _groups(sets: Iterable[SetThreshold], coverage: float) -> list[tuple[np.float32, np.float32]]:
    """Return (min_confidence, min_probability) as float32, highest confidence first."""
    groups = [
        (np.float32(each.min_confidence), np.float32(each.min_probability))
        for each in sets
        if each.coverage == coverage
    ]
    if not groups:
        raise _unknown_coverage(coverage)
    return sorted(groups, reverse=True)


def _unknown_coverage(coverage: float) -> ValueError:
    return ValueError(f"not calibrated for a coverage of {coverage}")
