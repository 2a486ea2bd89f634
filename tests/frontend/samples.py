"""A model and classifications for tests."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from client import Classification, ClassScore, InputSpec, ModelInfo, ModelRef, Timings

MODEL = ModelInfo(
    name="mnist-cnn",
    version="1",
    title="MNIST CNN",
    description="",
    state="ready",
    error=None,
    runtime="onnx",
    labels=tuple("0123456789"),
    input=InputSpec("digit", (1, 28, 28)),
    metrics={},
    license=None,
)


def make_classification(*scores: tuple[str, float], **fields: Any) -> Classification:
    """Return a classification with these (label, probability) pairs, the most probable first."""
    top: Sequence[ClassScore] = [ClassScore(label, i, p) for i, (label, p) in enumerate(scores)]
    result = Classification(
        id="1",
        filename=None,
        model=ModelRef("mnist-cnn", "1"),
        prediction=top[0].label,
        confidence=top[0].probability,
        top=tuple(top),
        probabilities=None,
        prediction_set=None,
        coverage=None,
        in_distribution=None,
        stored=None,
        timings=Timings(2.14, 0.4, 17.6),
    )
    return replace(result, **fields)
