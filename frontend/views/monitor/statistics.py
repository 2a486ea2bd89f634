"""The statistics of a model in words."""

from collections.abc import Callable
from dataclasses import dataclass

from client import DriftDay, DriftStatistic
from frontend.ui.formatting import count, percent

MIN_IMAGES = 500  # before the backend tests a statistic
MIN_FEEDBACK = 100
RECENT = "on average over the last 500 images"
RECENT_FEEDBACK = "of the last 100 reviewed answers"


@dataclass(frozen=True, slots=True)
class Kind:
    """How a statistic is named and formatted; `by_day` returns its value of a day."""

    name: str
    format: Callable[[float], str]
    axis_format: str
    by_day: Callable[[DriftDay], float | None]


def _share(value: float) -> str:
    return percent(value) if value >= 0.1 or not value else f"{100 * value:.1f}%"


def _precise_share(value: float) -> str:
    return f"{100 * value:.1f}%"


def _number_of_labels(value: float) -> str:
    return f"{value:.2f} labels"


def _pixels(value: float) -> str:
    return f"{value:,.0f} pixels" if value < 1e5 else f"{value / 1e6:.2g} megapixels"


KINDS = {
    "confidence": Kind("Confidence", _share, ".0%", lambda day: day.confidence),
    "set_size": Kind("Prediction set size", _number_of_labels, ".2f", lambda day: day.set_size),
    "out_of_distribution": Kind(
        "Out of distribution", _share, ".1%", lambda day: day.out_of_distribution
    ),
    "error_rate": Kind(
        "Wrong answers",
        _share,
        ".0%",
        lambda day: None if day.accuracy is None else 1 - day.accuracy,
    ),
    "brightness": Kind("Brightness", _precise_share, ".1%", lambda day: day.brightness),
    "pixels": Kind("Image size", _pixels, ".2s", lambda day: day.pixels),
    "labels": Kind("Labels", _share, ".0%", lambda _: None),
}


def describe(statistic: DriftStatistic) -> str:
    """Return a sentence about the recent value and what it is compared with."""
    kind = KINDS[statistic.name]
    if statistic.value is None:
        return _describe_waiting(statistic)
    if statistic.name == "labels":
        return (
            f"{kind.format(statistic.value)} of the last 500 images have another label than in the "
            "reference."
        )
    recent = RECENT_FEEDBACK if statistic.name == "error_rate" else RECENT
    compared = []
    if statistic.reference is not None:
        compared.append(f"{kind.format(statistic.reference)} in the reference")
    if statistic.calibration is not None:
        compared.append(f"{kind.format(statistic.calibration)} on the test images of the model")
    return ", ".join([f"{kind.format(statistic.value)} {recent}", *compared]) + "."


def direction(statistic: DriftStatistic) -> str:
    """Return how a statistic with an alert has changed, such as "is lower"."""
    if statistic.value is None or statistic.reference is None:
        return "have changed" if statistic.name == "labels" else "has changed"
    if statistic.name == "error_rate":
        return "are more frequent"
    difference = statistic.value - statistic.reference
    show = KINDS[statistic.name].format
    if show(statistic.value) == show(statistic.reference):
        return "is distributed differently"
    return "is higher" if difference > 0 else "is lower"


def _describe_waiting(statistic: DriftStatistic) -> str:
    if statistic.name == "error_rate":
        answers = count(statistic.images, "answer has", "answers have")
        return f"Compared after {MIN_FEEDBACK} answers with feedback; {answers} feedback so far."
    known = count(statistic.images, "image", "images")
    return f"Compared after {MIN_IMAGES} images; {known} so far."
