"""Response models of /history/drift, and the function that fills them."""

from dataclasses import asdict
from datetime import datetime
from typing import Literal

from pydantic import BaseModel, Field

from backend.history.drift import THRESHOLD, Day, Drift
from backend.inference.models.artifact import Manifest

StatisticName = Literal[
    "labels", "confidence", "set_size", "out_of_distribution", "brightness", "pixels", "error_rate"
]


class DriftStatistic(BaseModel):
    """A statistic of the recent images, compared with the reference."""

    name: StatisticName
    images: int = Field(description="Images for which it is known.")
    value: float | None = Field(
        description="Mean of the recent images; of `labels`, the total variation distance to the "
        "reference, 0 to 1. Null while there are too few images."
    )
    reference: float | None = Field(description="Mean of the images of the reference.")
    calibration: float | None = Field(
        description="Value measured on the images that the model was calibrated or tested with."
    )
    evidence: float | None = Field(
        description="Largest evidence of a change in the recent images, as log10."
    )
    alert: bool = Field(description="Whether the evidence reaches the threshold.")
    since: datetime | None = Field(
        description="Time at which the present alert began, UTC; of the newest 5,000 images."
    )


class LabelShare(BaseModel):
    """Share of a prediction in the recent images and in the reference."""

    label: str
    value: float = Field(ge=0, le=1)
    reference: float = Field(ge=0, le=1)


class DriftLabel(BaseModel):
    """Number of images with a prediction."""

    label: str
    images: int


class DriftDay(BaseModel):
    """Means of the classifications of one day. Null where nothing is known.

    Means of more than 2,000 images, and the numbers of their labels, are those of a random sample.
    """

    day: str = Field(description="Day in the requested time zone, YYYY-MM-DD.")
    images: int
    confidence: float = Field(ge=0, le=1)
    set_size: float | None = Field(description="Labels in the prediction set.")
    out_of_distribution: float | None = Field(
        ge=0, le=1, description="Share of images that show none of the model's classes."
    )
    brightness: float | None = Field(description="Mean of the model input, 0 to 1.")
    pixels: float | None = Field(description="Pixels of the image file.")
    labels: list[DriftLabel] = Field(description="The most frequent predictions, at most 10.")
    confirmed: int = Field(description="Classifications that the feedback confirms.")
    corrected: int = Field(description="Classifications that the feedback contradicts.")
    accuracy: float | None = Field(description="Share of confirmed classifications.")
    accuracy_low: float | None = Field(description="Lower end of its interval of 95%.")
    accuracy_high: float | None = Field(description="Upper end of its interval of 95%.")


class DriftReport(BaseModel):
    """Drift of one version of a model."""

    model: str
    version: str | None = Field(description="Null if it is not known.")
    alert: bool = Field(description="Whether any statistic has an alert.")
    threshold: float = Field(description="Evidence that is an alert, as log10.")
    images: int = Field(description="Classifications that were compared, at most 7,000.")
    reference_images: int = Field(description="How many of them, the oldest, are the reference.")
    coverage: float | None = Field(description="Coverage of the prediction sets in `set_size`.")
    statistics: list[DriftStatistic]
    labels: list[LabelShare] = Field(description="Predictions that changed most, at most 10.")
    days: list[DriftDay] = Field(description="The newest first.")


def make_report(
    model: str, version: str | None, drift: Drift, days: list[Day], manifest: Manifest | None
) -> DriftReport:
    """Return the report; `manifest` is that of the version, if it is served."""
    return DriftReport(
        model=model,
        version=version,
        alert=drift.alert,
        threshold=THRESHOLD,
        images=drift.images,
        reference_images=drift.reference_images,
        coverage=drift.coverage,
        statistics=[
            DriftStatistic(
                **asdict(one),
                alert=one.alert,
                calibration=_calibrated(one.name, drift.coverage, manifest),
            )
            for one in drift.statistics
        ],
        labels=[LabelShare(**asdict(one)) for one in drift.labels],
        days=[
            DriftDay(
                **asdict(day)
                | {
                    "labels": [
                        DriftLabel(label=label, images=count) for label, count in day.labels.items()
                    ]
                }
            )
            for day in days
        ],
    )


def _calibrated(name: str, coverage: float | None, manifest: Manifest | None) -> float | None:
    """Return what the manifest states about a statistic."""
    if manifest is None:
        return None
    accuracy = manifest.metrics.get("test_accuracy")
    if name == "set_size" and manifest.calibration and coverage is not None:
        return manifest.calibration.mean_set_size.get(str(coverage))
    found = {
        "confidence": accuracy,  # the mean confidence of a calibrated model is its accuracy
        "out_of_distribution": manifest.metrics.get("test_refused"),
        "error_rate": None if accuracy is None else 1 - accuracy,
    }
    return found.get(name)
