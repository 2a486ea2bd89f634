"""Response models of /classify, and the function that fills them."""

import base64
from dataclasses import asdict
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field
from ulid import ULID

from backend.inference import explain
from backend.inference.models.artifact import Manifest
from backend.inference.types import ClassificationResult
from calibration.sigmoid import SINGLE_LABEL


class ModelRef(BaseModel):
    """The model that classified the image."""

    name: str
    version: str


class ClassScore(BaseModel):
    """Probability of one class."""

    label: str
    index: int
    probability: float = Field(ge=0, le=1)


class TimingsMs(BaseModel):
    """Duration of each stage, in milliseconds."""

    decode: float
    queue: float
    inference: float


class Explanation(BaseModel):
    """Which parts of the image influenced the label."""

    method: Literal["class activation map", "occlusion"]
    label: str
    heatmap: str = Field(
        description="An 8-bit grayscale PNG as data URL, with the proportions of the upright image "
        "and at most 512 pixels a side. 0 is no influence, 255 the most."
    )


class Classification(BaseModel):
    """Classification of one image."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "id": "01JD3YV5K7Q4M8W2X6Z9B1C0DE",
                "filename": "seven.png",
                "model": {"name": "mnist-cnn", "version": "1"},
                "prediction": "7",
                "confidence": 0.998,
                "top": [
                    {"label": "7", "index": 7, "probability": 0.998},
                    {"label": "1", "index": 1, "probability": 0.001},
                ],
                "probabilities": [0, 0.001, 0, 0, 0, 0, 0, 0.998, 0, 0.001],
                "prediction_set": ["7"],
                "coverage": 0.95,
                "in_distribution": True,
                "ood_score": -9.128403,
                "stored": True,
                "timings_ms": {"decode": 0.6, "queue": 0.1, "inference": 0.5},
            }
        }
    )

    id: str
    filename: str | None
    model: ModelRef
    prediction: str
    confidence: float = Field(ge=0, le=1)
    top: list[ClassScore]
    task: Literal["binary", "multi-label"] | None = Field(
        default=None, description="Absent for a model of which one of several labels is right."
    )
    labels: list[ClassScore] | None = Field(
        default=None,
        description="Labels that reach their thresholds, the most probable first; may be empty. "
        "Only of a multi-label model.",
    )
    probabilities: list[float] | None = Field(
        default=None,
        description="Probability of each class, in the order of the model's labels. Absent with "
        "`probabilities=false`. Those of a multi-label model do not sum to 1.",
    )
    prediction_set: list[str] | None = Field(
        description="Most probable labels, which include the right one for a share `coverage` of "
        "all images. Null if the model is not calibrated, or is multi-label."
    )
    coverage: float | None = Field(
        description="Fraction of images for which `prediction_set` includes the right label."
    )
    in_distribution: bool | None = Field(
        description="Whether the image shows one of the model's classes. Null if not calibrated."
    )
    ood_score: float | None = Field(
        description="Out-of-distribution score; larger is less likely one of the model's classes."
    )
    stored: bool | None = Field(
        description="Whether the history stored the classification. Null without history."
    )
    timings_ms: TimingsMs
    model_input: str | None = Field(
        default=None,
        description="The preprocessed image, a PNG as data URL. Only with `model_input=true`.",
    )
    explanation: Explanation | None = Field(
        default=None,
        description="What decided. Only with `explain=true`; null if the time until the deadline "
        "did not suffice.",
    )


def make_explanation(found: explain.Explanation | None) -> dict[str, str] | None:
    """Return the fields of an `Explanation`."""
    if found is None:
        return None
    return {"method": found.method, "label": found.label, "heatmap": png_url(found.heatmap)}


def png_url(png: bytes) -> str:
    """Return a PNG as data URL."""
    return f"data:image/png;base64,{base64.b64encode(png).decode()}"


def make_classification(
    result: ClassificationResult,
    manifest: Manifest,
    filename: str | None,
    top_k: int,
    probabilities: bool,
    coverage: float,
) -> dict[str, object]:
    """Return the fields of a new `Classification`, with NumPy floats, for orjson; not validated."""
    values = result.probabilities
    labels = result.labels
    top = [
        {"label": labels[index], "index": index, "probability": values[index]}
        for index in result.ranking[:top_k].tolist()
    ]
    fields: dict[str, object] = {
        "id": str(ULID()),
        "filename": filename,
        "model": {"name": manifest.name, "version": manifest.version},
        "prediction": top[0]["label"],
        "confidence": top[0]["probability"],
        "top": top,
    }
    if manifest.task != SINGLE_LABEL:
        fields["task"] = manifest.task
        if (found := result.labels_above_threshold()) is not None:
            fields["labels"] = [asdict(score) for score in found]
    if probabilities:
        fields["probabilities"] = values
    timings, score = result.timings, result.ood_score
    prediction_set = result.prediction_set(coverage)
    return fields | {
        "prediction_set": prediction_set,
        "coverage": None if prediction_set is None else coverage,
        "in_distribution": result.in_distribution,
        "ood_score": None if score is None else round(score, 6),
        "stored": None,
        "timings_ms": {
            "decode": round(timings.decode, 3),
            "queue": round(timings.queue, 3),
            "inference": round(timings.inference, 3),
        },
    }
