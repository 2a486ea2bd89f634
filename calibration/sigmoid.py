"""Probabilities of networks whose outputs are independent: binary and multi-label classifiers.

Each output is a logit, or a probability in [0, 1]. Unlike those of a softmax, the probabilities of
several labels do not sum to 1.
"""

from collections.abc import Sequence
from typing import Final, Literal

import numpy as np

from calibration import apply
from calibration.apply import Calibration, Floats, LabelScaling, OutputError, OutputKind

# `single-label`: exactly one label is right, and the outputs are those of a softmax. `binary`: one
# output, for the second of two labels. `multi-label`: one output for each label, of which any
# number are right.
Task = Literal["single-label", "binary", "multi-label"]

SINGLE_LABEL: Final = "single-label"
BINARY: Final = "binary"
MULTI_LABEL: Final = "multi-label"
DEFAULT_THRESHOLD: Final = 0.5

_MIN_PROBABILITY: Final = 1e-7  # of an output that is a probability, so that its logit is finite
_ROUNDING: Final = 1e-4  # by which a probability may leave [0, 1]


class ProbabilityMap:
    """Maps the outputs of a network to calibrated probabilities, for any task."""

    def __init__(
        self,
        task: Task,
        kind: OutputKind,
        calibration: Calibration | None = None,
        *,
        scaling: Sequence[LabelScaling] | None = None,
    ) -> None:
        """Without a calibration, the temperature is 1; `scaling` is one without the rest."""
        scaling = scaling or (calibration.scaling if calibration else None)
        self._task: Final = task
        self._kind: Final[OutputKind] = kind
        self._temperature: Final = calibration.temperature if calibration else 1.0
        self._slopes: Final = np.array([each.slope for each in scaling or ()], np.float32)
        self._intercepts: Final = np.array([each.intercept for each in scaling or ()], np.float32)

    def __call__(self, outputs: Floats) -> Floats:
        """Return probabilities (N, C) for outputs (N, C), or (N, 1) of a binary classifier.

        Raise OutputError if an output is not finite or, for probabilities, not in [0, 1]; and if a
        binary classifier has several outputs.
        """
        if self._task == SINGLE_LABEL:
            return apply.probabilities(outputs, self._kind, self._temperature)
        positive = sigmoid(self._scale(to_logits(outputs, self._kind)))
        if self._task == MULTI_LABEL:
            return positive
        if outputs.shape[1] != 1:
            raise OutputError(
                f"The model is binary, so it must return one number, not {outputs.shape[1]}."
            )
        return np.concatenate([1 - positive, positive], axis=1)

    def _scale(self, logits: Floats) -> Floats:
        if not len(self._slopes):
            return logits / np.float32(self._temperature)
        if logits.shape[1] != len(self._slopes):
            raise OutputError(
                f"The model returned {logits.shape[1]} numbers, but its calibration has "
                f"{len(self._slopes)}."
            )
        scaled: Floats = logits * self._slopes + self._intercepts
        return scaled


def to_logits(outputs: Floats, kind: OutputKind) -> Floats:
    """Return the logits of independent outputs (N, C).

    Raise OutputError if an output is not finite, or is a probability that is not in [0, 1].
    """
    if not np.isfinite(outputs).all():
        raise OutputError("The model returned numbers that are not finite.")
    if kind == "logits":
        return outputs
    if (outputs < -_ROUNDING).any() or (outputs > 1 + _ROUNDING).any():
        raise OutputError("The model returned numbers that are not probabilities.")
    within = outputs.astype(np.float64).clip(_MIN_PROBABILITY, 1 - _MIN_PROBABILITY)
    logits: Floats = (np.log(within) - np.log1p(-within)).astype(np.float32)
    return logits


def sigmoid(logits: Floats) -> Floats:
    """Return 1 / (1 + exp(-logits)), without overflow."""
    decayed = np.exp(-np.abs(logits))
    probabilities: Floats = np.where(logits >= 0, 1, decayed) / (1 + decayed)
    return probabilities


def label_thresholds(task: Task, labels: int, calibration: Calibration | None) -> Floats | None:
    """Return the thresholds (C,) of the `labels` of a multi-label model; None for other models."""
    if task != MULTI_LABEL:
        return None
    given = calibration.thresholds if calibration else None
    return np.array(given or [DEFAULT_THRESHOLD] * labels, np.float32)
