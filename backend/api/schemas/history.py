"""Request and response models of /history, and the functions that fill them."""

from datetime import datetime
from typing import Any, Final, Literal, Self

import orjson
from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from backend.api.schemas.classify import ClassScore, ModelRef, TimingsMs
from backend.history.record import StoredRecord


class StoredClassification(BaseModel):
    """A classification in the history."""

    id: str
    time: datetime = Field(description="Time of the classification, UTC.")
    model: ModelRef
    prediction: str
    confidence: float = Field(ge=0, le=1)
    top: list[ClassScore] = Field(description="Most probable classes as returned, at most 10.")
    labels: list[ClassScore] | None = Field(
        default=None,
        description="Labels of a multi-label model that reached their thresholds, at most 100.",
    )
    prediction_set: list[str] | None
    coverage: float | None
    in_distribution: bool | None
    ood_score: float | None
    timings_ms: TimingsMs
    sha256: str = Field(description="SHA-256 of the image file.")
    filename: str | None
    image: bool = Field(description="Whether a thumbnail of the image is stored.")
    correction: str | None = Field(description="The right label according to user feedback.")
    correction_model: str | None = Field(
        description="Model of the right label. Null if it is the model that classified."
    )
    none_of_these: bool = Field(
        description="Whether no label of a served model is right, according to user feedback."
    )
    corrected_at: datetime | None = Field(description="Time of the feedback, UTC.")


class HistoryPage(BaseModel):
    """One page of classifications, the newest first."""

    answers: list[StoredClassification]
    next: str | None = Field(description="`cursor` of the next page. Null on the last page.")


class Feedback(BaseModel):
    """User feedback on a classification: either `correction` or `none_of_these`."""

    model_config = ConfigDict(extra="forbid")

    correction: str | None = Field(
        None,
        max_length=500,
        pattern=r"^[^\x00]*$",
        description="The right label. Null removes the feedback.",
    )
    correction_model: str | None = Field(
        None,
        max_length=64,
        description="Model of the right label. If omitted, the model that classified.",
    )
    none_of_these: Literal[True] | None = Field(
        None, description="No label of a served model is right."
    )

    @model_validator(mode="after")
    def _validate_fields(self) -> Self:
        has_correction = "correction" in self.model_fields_set
        if has_correction == bool(self.none_of_these):
            raise PydanticCustomError(
                "feedback",
                'send {"correction": LABEL}, {"none_of_these": true}, or {"correction": null} to '
                "remove the feedback",
            )
        if self.correction_model is not None and self.correction is None:
            raise PydanticCustomError(
                "feedback", "correction_model needs the label in the field correction"
            )
        return self


_FEEDBACK_FIELDS: Final = Feedback.model_json_schema()["properties"]
_NULL: Final = {"type": "null"}
# What the validator of Feedback checks. The generated schema states the type of each field only.
FEEDBACK_SCHEMA: Final[dict[str, Any]] = {
    "title": "Feedback",
    "description": Feedback.__doc__,
    "oneOf": [
        {
            "type": "object",
            "properties": properties,
            "required": required,
            "additionalProperties": False,
        }
        for required, properties in (
            (
                ["correction"],
                {
                    "correction": {"type": "string", "maxLength": 500, "pattern": r"^[^\x00]*$"},
                    "correction_model": _FEEDBACK_FIELDS["correction_model"],
                    "none_of_these": _NULL,
                },
            ),
            (
                ["correction"],
                {"correction": _NULL, "correction_model": _NULL, "none_of_these": _NULL},
            ),
            (["none_of_these"], {"none_of_these": {"const": True}, "correction_model": _NULL}),
        )
    ],
}


class Storage(BaseModel):
    """What the history stores, where, and for how long."""

    images: bool = Field(description="Whether a small copy of each image is stored.")
    days: int | None = Field(
        description="Days after which a classification is deleted. Null: never."
    )
    location: str | None = Field(
        description="The database file. Null unless the service listens on the loopback interface "
        "only and uses SQLite."
    )


class Deleted(BaseModel):
    """Number of deleted classifications."""

    deleted: int


class DayAccuracy(BaseModel):
    """Accuracy of the classifications of one day that have feedback."""

    day: str = Field(description="Day in the requested time zone, YYYY-MM-DD.")
    confirmed: int = Field(description="Classifications that the feedback confirms.")
    corrected: int = Field(description="Classifications that the feedback contradicts.")
    accuracy: float = Field(ge=0, le=1, description="Share of confirmed classifications.")


class Accuracy(BaseModel):
    """Accuracy according to user feedback, by day of the classification, the newest first."""

    confirmed: int
    corrected: int
    accuracy: float | None = Field(description="Share of confirmed ones. Null without feedback.")
    total: int | None = Field(
        description="All matching classifications, with and without feedback. Null: more than "
        "100,000."
    )
    days: list[DayAccuracy]


def stored_classification(record: StoredRecord) -> dict[str, Any]:
    """Return the fields of a `StoredClassification`, for orjson."""
    fields = {
        **record,
        "model": {"name": record["model"], "version": record["version"]},
        "timings_ms": record["timings"],
        "image": record["has_thumbnail"],
    }
    return {name: fields[name] for name in StoredClassification.model_fields}


def to_json(value: object) -> bytes:
    """Return JSON in which UTC times end with Z."""
    return orjson.dumps(value, option=orjson.OPT_UTC_Z)
