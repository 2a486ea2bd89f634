"""A network's outputs -> probabilities."""

from typing import Literal

import numpy as np

from backend.inference.errors import InferenceError
from backend.inference.types import Floats


def probabilities(outputs: Floats, kind: Literal["logits", "probabilities"]) -> Floats:
    """Turn outputs of shape (N, C) into probabilities of shape (N, C) whose rows sum to 1.

    Logits go through the softmax (log-probabilities are logits too); probabilities are only
    brought to the sum of 1. Raises InferenceError where an output is not finite or a row of
    probabilities is negative or sums to nothing.
    """
    if not np.isfinite(outputs).all():
        raise InferenceError("The model gave numbers that are not finite.")
    peaks = outputs.max(axis=1, keepdims=True)
    positive = np.exp(outputs - peaks) if kind == "logits" else outputs
    total = positive.sum(axis=1, keepdims=True)
    if (positive < 0).any() or (total <= 0).any():
        raise InferenceError("The model gave numbers that are no probabilities.")
    scaled: Floats = positive / total
    return scaled
