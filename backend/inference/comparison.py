"""Decides whether another runtime or precision may compute a model's answers.

It must be faster on this machine, and give the same answers to generated images.
"""

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from backend.inference.errors import InferenceError, ModelError
from backend.inference.models.artifact import Manifest
from backend.inference.runtimes import Alternative, Precision, Runtime, has_features
from backend.inference.types import Floats
from calibration import apply
from calibration.sigmoid import ProbabilityMap, label_thresholds

log = logging.getLogger("prism.engine")

MIN_AGREEMENT: Final = 0.99  # share of the images
MAX_CONFIDENCE_DIFFERENCE: Final = 0.02  # mean over the images
MIN_SPEED: Final = 1.2  # times that of the default

# Maps another network, with all processors and with one thread, to its speed.
MeasureSpeed = Callable[[Runtime, Runtime | None], float]


class Comparison(BaseModel):
    """An alternative to the default runtime and precision, and whether it is used.

    Figures that were not measured, because the alternative was rejected before, are None.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    runtime: str
    precision: Precision
    used: bool = False
    reason: str
    agreement: float | None = None  # share of generated images with the same label
    in_distribution_agreement: float | None = None  # share with the same verdict
    confidence_difference: float | None = None  # mean absolute difference
    speed: float | None = None  # times that of the default


@dataclass(frozen=True, slots=True)
class Agreement:
    """How far the answers of two networks agree."""

    labels: float  # share of the inputs with the same labels
    verdicts: float | None  # share with the same in-distribution verdict; None: there are none
    confidence_difference: float  # mean absolute difference


def compare(
    alternative: Alternative,
    manifest: Manifest,
    reference: Runtime,
    inputs: Iterable[Floats],
    measure_speed: MeasureSpeed,
    *,
    threads: int,
) -> Comparison:
    """Return whether `alternative` may replace `reference`, the default network, and why.

    Its answers to `inputs`, of shape (*input) each, are compared first, then its speed, with
    `threads` threads and, if there are several, with one.
    """
    about: dict[str, Any] = {"runtime": alternative.runtime, "precision": alternative.precision}
    try:
        wide = alternative.load(threads=threads)
        if has_features(reference) and not has_features(wide):
            missing = "It does not return the features from which taught models classify."
            return Comparison.model_validate(about | {"reason": missing})
        agreement = compare_answers(manifest, reference, wide, inputs)
        about |= _figures(agreement)
        if reason := describe_difference(agreement):
            return Comparison.model_validate(about | {"reason": reason})
        speed = measure_speed(wide, alternative.load(threads=1) if threads > 1 else None)
    except ModelError as error:
        log.warning("%s: %s: %s", manifest.name, _name(alternative), error)
        reason = "It cannot be loaded or run; the log of the service contains the cause."
        return Comparison.model_validate(about | {"reason": reason})
    is_faster = speed >= MIN_SPEED
    reason = f"Its answers agree, and it is {speed:.2f} times as fast" + (
        "." if is_faster else f", less than {MIN_SPEED:g} times."
    )
    about |= {"speed": round(speed, 3), "used": is_faster, "reason": reason}
    return Comparison.model_validate(about)


def choose(comparisons: list[Comparison]) -> list[Comparison]:
    """Return the comparisons with only the fastest of the usable alternatives marked as used."""
    usable = [each for each in comparisons if each.used]
    best = max(usable, key=lambda each: each.speed or 0.0, default=None)
    return [
        each
        if each is best or not each.used
        else each.model_copy(update={"used": False, "reason": "Another alternative is faster."})
        for each in comparisons
    ]


def compare_answers(
    manifest: Manifest, reference: Runtime, other: Runtime, inputs: Iterable[Floats]
) -> Agreement:
    """Compare the answers of two networks of one model to inputs of shape (*input) each.

    Of a multi-label model, all labels that reach their thresholds are compared, and the largest
    difference of a probability.
    """
    answers = [(_answer(manifest, reference, row), _answer(manifest, other, row)) for row in inputs]
    calibration = manifest.calibration
    has_verdicts = calibration is not None and calibration.max_ood_score is not None
    return Agreement(
        labels=float(np.mean([np.array_equal(a.labels, b.labels) for a, b in answers])),
        verdicts=float(np.mean([a.verdict == b.verdict for a, b in answers]))
        if has_verdicts
        else None,
        confidence_difference=float(
            np.mean([np.abs(a.confidence - b.confidence).max() for a, b in answers])
        ),
    )


@dataclass(frozen=True, slots=True)
class _Answer:
    """The answer of a network to one input.

    `labels` is the index of the most probable label, shape (1,), and `confidence` its probability;
    of a multi-label model, they are masks and probabilities of all labels, shape (C,).
    """

    labels: NDArray[Any]
    confidence: Floats
    verdict: bool | None  # whether the input is in distribution


def _answer(manifest: Manifest, network: Runtime, row: Floats) -> _Answer:
    calibration = manifest.calibration
    outputs = network(row[np.newaxis])
    try:
        probabilities = ProbabilityMap(manifest.task, manifest.output, calibration)(outputs)
    except apply.OutputError as error:
        raise InferenceError(str(error)) from error
    thresholds = label_thresholds(manifest.task, len(manifest.labels), calibration)
    if thresholds is not None:
        return _Answer(probabilities[0] >= thresholds, probabilities[0], None)
    verdict = None
    if calibration is not None and calibration.max_ood_score is not None:
        scores = apply.ood_scores(outputs, probabilities, calibration.ood_method)
        verdict = bool(scores[0] <= calibration.max_ood_score)
    return _Answer(probabilities.argmax(axis=1), probabilities.max(axis=1), verdict)


def _figures(agreement: Agreement) -> dict[str, float | None]:
    verdicts = agreement.verdicts
    return {
        "agreement": round(agreement.labels, 4),
        "in_distribution_agreement": None if verdicts is None else round(verdicts, 4),
        "confidence_difference": round(agreement.confidence_difference, 4),
    }


def describe_difference(agreement: Agreement) -> str | None:
    """Return in which way the answers to generated images differ too much, or None."""
    if agreement.labels < MIN_AGREEMENT:
        return (
            f"It gives the same label to {agreement.labels:.1%} of the generated images, "
            f"fewer than {MIN_AGREEMENT:.0%}."
        )
    if agreement.verdicts is not None and agreement.verdicts < MIN_AGREEMENT:
        return (
            f"It agrees on whether {agreement.verdicts:.1%} of the generated images are in "
            f"distribution, fewer than {MIN_AGREEMENT:.0%}."
        )
    if agreement.confidence_difference > MAX_CONFIDENCE_DIFFERENCE:
        return (
            f"Its confidence differs by {agreement.confidence_difference:.3f} on average, more "
            f"than {MAX_CONFIDENCE_DIFFERENCE:g}."
        )
    return None


def _name(alternative: Alternative) -> str:
    return f"{alternative.precision} in {alternative.runtime}"
