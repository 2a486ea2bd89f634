"""What happens to a classified image besides the response: history and shadow."""

from typing import Any

from fastapi import Request

from backend.history.history import History
from backend.inference.head_classifier import AnyClassifier
from backend.inference.types import ClassificationResult
from backend.shadows import Shadows


async def store(
    request: Request,
    fields: dict[str, Any],
    content: bytes,
    brightness: float | None,
    seconds: float,
) -> None:
    """Store a classification, if there is a history, and set its field `stored`.

    `brightness` is that of the image, in [0, 1]; `seconds` remain until the deadline.
    """
    history: History | None = request.state.history
    if history is not None:
        fields["stored"] = await history.add(fields, content, seconds, brightness=brightness)


def offer_to_shadow(
    request: Request,
    model: str | None,
    fields: dict[str, Any],
    content: bytes,
    classifier: AnyClassifier,
    result: ClassificationResult,
) -> None:
    """Let the shadow of the requested model classify a stored image, after the response."""
    shadows: Shadows | None = request.state.shadows
    if shadows is not None and model is not None and fields["stored"]:
        shadows.offer(model, fields["id"], content, classifier, result)
