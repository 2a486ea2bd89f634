"""Types of GET /history/drift."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from .parsing import (
    Object,
    as_bool,
    as_datetime,
    as_list,
    as_number,
    as_object,
    as_string,
    optional,
)


@dataclass(frozen=True, slots=True)
class DriftStatistic:
    """A statistic of the recent images, compared with the reference.

    `name` is labels, confidence, set_size, out_of_distribution, brightness, pixels or error_rate.
    `value`, `reference` and `calibration` are means, except that the value of labels is the total
    variation distance. They are None if they are not known. `evidence` is that of a change, as
    log10; `since` is the time at which the present alert began, UTC.
    """

    name: str
    images: int
    value: float | None
    reference: float | None
    calibration: float | None
    evidence: float | None
    alert: bool
    since: datetime | None


@dataclass(frozen=True, slots=True)
class LabelChange:
    """Share of a prediction in the recent images (`value`) and in the reference."""

    label: str
    value: float
    reference: float


@dataclass(frozen=True, slots=True)
class DriftDay:
    """Means of one day (YYYY-MM-DD); None where nothing is known.

    `labels` are the numbers of images with the most frequent predictions. `accuracy` is that of the
    answers with feedback, `accuracy_low` to `accuracy_high` its interval of 95%.
    """

    day: str
    images: int
    confidence: float
    set_size: float | None
    out_of_distribution: float | None
    brightness: float | None
    pixels: float | None
    labels: Mapping[str, int]
    confirmed: int
    corrected: int
    accuracy: float | None
    accuracy_low: float | None
    accuracy_high: float | None


@dataclass(frozen=True, slots=True)
class Drift:
    """Drift of one version of a model: the `images` compared with the first `reference_images`.

    `version` is None if it is not known. `coverage` is that of the prediction sets whose
    size is compared. An evidence of `threshold`, a log10, is an alert. `labels` are the predictions
    that changed most, `days` are the newest first.
    """

    model: str
    version: str | None
    alert: bool
    threshold: float
    images: int
    reference_images: int
    coverage: float | None
    statistics: tuple[DriftStatistic, ...]
    labels: tuple[LabelChange, ...]
    days: tuple[DriftDay, ...]


def parse_drift(obj: Object) -> Drift:
    """Return the drift that a response describes; raise InvalidResponse."""
    return Drift(
        model=as_string(obj.get("model"), "model"),
        version=optional(obj, "version", as_string),
        alert=as_bool(obj.get("alert"), "alert"),
        threshold=as_number(obj.get("threshold"), "threshold"),
        images=int(as_number(obj.get("images"), "images")),
        reference_images=int(as_number(obj.get("reference_images"), "reference_images")),
        coverage=optional(obj, "coverage", as_number),
        statistics=tuple(_statistic(item) for item in _objects(obj, "statistics")),
        labels=tuple(
            LabelChange(
                as_string(item.get("label"), "label"),
                as_number(item.get("value"), "value"),
                as_number(item.get("reference"), "reference"),
            )
            for item in _objects(obj, "labels")
        ),
        days=tuple(_day(item) for item in _objects(obj, "days")),
    )


def _objects(obj: Object, name: str) -> list[Object]:
    return [as_object(item, f"{name}[]") for item in as_list(obj.get(name), name)]


def _statistic(obj: Object) -> DriftStatistic:
    return DriftStatistic(
        name=as_string(obj.get("name"), "name"),
        images=int(as_number(obj.get("images"), "images")),
        value=optional(obj, "value", as_number),
        reference=optional(obj, "reference", as_number),
        calibration=optional(obj, "calibration", as_number),
        evidence=optional(obj, "evidence", as_number),
        alert=as_bool(obj.get("alert"), "alert"),
        since=optional(obj, "since", as_datetime),
    )


def _day(obj: Object) -> DriftDay:
    return DriftDay(
        day=as_string(obj.get("day"), "day"),
        images=int(as_number(obj.get("images"), "images")),
        confidence=as_number(obj.get("confidence"), "confidence"),
        set_size=optional(obj, "set_size", as_number),
        out_of_distribution=optional(obj, "out_of_distribution", as_number),
        brightness=optional(obj, "brightness", as_number),
        pixels=optional(obj, "pixels", as_number),
        labels={
            as_string(item.get("label"), "label"): int(as_number(item.get("images"), "images"))
            for item in _objects(obj, "labels")
        },
        confirmed=int(as_number(obj.get("confirmed"), "confirmed")),
        corrected=int(as_number(obj.get("corrected"), "corrected")),
        accuracy=optional(obj, "accuracy", as_number),
        accuracy_low=optional(obj, "accuracy_low", as_number),
        accuracy_high=optional(obj, "accuracy_high", as_number),
    )
