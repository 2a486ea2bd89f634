"""Types of GET /models/{name}/shadow."""

from dataclasses import dataclass
from datetime import datetime

from .parsing import (
    Object,
    as_datetime,
    as_fraction,
    as_number,
    as_object,
    as_string,
    optional,
)


@dataclass(frozen=True, slots=True)
class ShadowAgreement:
    """Share of images with the same prediction of both versions, and its interval of 95%.

    All are None without images.
    """

    value: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True, slots=True)
class ShadowMedians:
    """Median of the active and of the shadow version on the same images; None without images."""

    active: float | None
    shadow: float | None


@dataclass(frozen=True, slots=True)
class ShadowCorrected:
    """Numbers of images with feedback: how many there are, and which version is right.

    `p_value` is that of McNemar's exact test (two-sided): the probability of a split of the images
    on which only one version is right that is at least this uneven between equally good versions.
    """

    images: int
    both_right: int
    only_active_right: int
    only_shadow_right: int
    both_wrong: int
    p_value: float


@dataclass(frozen=True, slots=True)
class Shadow:
    """The shadow of a model: `version` classifies a `share` of its images, and is not returned.

    `images` is the number of images that both the `active` version and the shadow have classified
    since `since` (UTC). `confidence` is within [0, 1]; `milliseconds` are those of decoding and
    inference, without waiting.
    """

    model: str
    version: int
    active: int
    share: float
    since: datetime
    images: int
    agreement: ShadowAgreement
    confidence: ShadowMedians
    milliseconds: ShadowMedians
    corrected: ShadowCorrected


def parse_shadow(obj: Object) -> Shadow:
    """Return the shadow that a response describes; raise InvalidResponse."""
    agreement = as_object(obj.get("agreement"), "agreement")
    corrected = as_object(obj.get("corrected"), "corrected")
    return Shadow(
        model=as_string(obj.get("model"), "model"),
        version=_integer(obj, "version"),
        active=_integer(obj, "active"),
        share=as_fraction(obj.get("share"), "share"),
        since=as_datetime(obj.get("since"), "since"),
        images=_integer(obj, "images"),
        agreement=ShadowAgreement(
            *(optional(agreement, key, as_fraction) for key in ("value", "low", "high"))
        ),
        confidence=_medians(obj, "confidence"),
        milliseconds=_medians(obj, "milliseconds"),
        corrected=ShadowCorrected(
            images=_integer(corrected, "images"),
            both_right=_integer(corrected, "both_right"),
            only_active_right=_integer(corrected, "only_active_right"),
            only_shadow_right=_integer(corrected, "only_shadow_right"),
            both_wrong=_integer(corrected, "both_wrong"),
            p_value=as_fraction(corrected.get("p_value"), "p_value"),
        ),
    )


def _integer(obj: Object, field: str) -> int:
    return int(as_number(obj.get(field), field))


def _medians(obj: Object, field: str) -> ShadowMedians:
    medians = as_object(obj.get(field), field)
    return ShadowMedians(*(optional(medians, key, as_number) for key in ("active", "shadow")))
