"""Classifications by the shadow of a model, and their comparison with those of its active version.

The answer of a version is its label, or that the image is not one of its classes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import exp, fsum, lgamma, log
from statistics import median
from typing import NamedTuple, TypedDict

from backend.history.drift import wilson


class ShadowRecord(TypedDict):
    """One classification by a shadow; keys are column names.

    `id` is that of the stored classification of the same image by the active version, `version`
    that of the shadow; `milliseconds` are those of decoding and inference.
    """

    id: str
    version: str
    prediction: str
    confidence: float
    in_distribution: bool | None
    milliseconds: float


class ShadowCounts(NamedTuple):
    """Numbers of images: all, those with equal answers, and those with feedback by who is right."""

    images: int
    equal: int
    both_right: int
    only_active_right: int
    only_shadow_right: int
    both_wrong: int


class ShadowSample(NamedTuple):
    """Confidence and milliseconds of both versions for one image."""

    active_confidence: float
    shadow_confidence: float
    active_milliseconds: float
    shadow_milliseconds: float


@dataclass(frozen=True, slots=True)
class ShadowComparison:
    """Comparison of a shadow with the active version on the same images.

    `agreement` is the share of equal answers, `interval` that of 95% (Wilson), and `medians` those
    of the newest images; they are None without images. `p_value` is that of McNemar's test.
    """

    counts: ShadowCounts
    agreement: float | None
    interval: tuple[float, float] | None
    medians: ShadowSample | None
    p_value: float


def compare(counts: ShadowCounts, samples: Sequence[ShadowSample]) -> ShadowComparison:
    """Return the comparison of the images counted, of which `samples` are the newest."""
    images, equal = counts.images, counts.equal
    return ShadowComparison(
        counts=counts,
        agreement=equal / images if images else None,
        interval=wilson(equal, images) if images else None,
        medians=ShadowSample(*map(median, zip(*samples, strict=True))) if samples else None,
        p_value=mcnemar(counts.only_active_right, counts.only_shadow_right),
    )


def mcnemar(only_a: int, only_b: int) -> float:
    """Return the exact two-sided p-value of McNemar's test; 1 without discordant pairs.

    It is the probability that of `only_a + only_b` images, each of which falls to either side with
    the probability 1/2, as few as the smaller number or fewer fall to one of the sides.
    """
    total, smaller = only_a + only_b, min(only_a, only_b)
    if 2 * smaller == total:
        return 1.0
    log_all = lgamma(total + 1) - total * log(2)
    tail = fsum(
        exp(log_all - lgamma(count + 1) - lgamma(total - count + 1)) for count in range(smaller + 1)
    )
    return min(1.0, 2 * tail)
