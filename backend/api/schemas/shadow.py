"""Models of /models/{name}/shadow, and the function that fills the response."""

from datetime import datetime

from pydantic import BaseModel, ConfigDict, Field

from backend.history.shadows import ShadowComparison
from backend.registry.index import ShadowRecord


class ShadowSettings(BaseModel):
    """Body of PUT /models/{name}/shadow."""

    model_config = ConfigDict(extra="forbid", strict=True)

    version: int = Field(ge=1, le=10**9, description="A version that is not active.")
    share: float = Field(1.0, gt=0, le=1, description="Share of the images that it classifies.")


class ShadowAgreement(BaseModel):
    """Share of images with the same answer of both versions. Null without images."""

    value: float | None
    low: float | None = Field(description="Lower end of its interval of 95%.")
    high: float | None = Field(description="Upper end of its interval of 95%.")


class ShadowMedians(BaseModel):
    """Medians of both versions. Null without images."""

    active: float | None
    shadow: float | None


class ShadowCorrected(BaseModel):
    """Images with feedback, by the version that is right."""

    images: int
    both_right: int
    only_active_right: int
    only_shadow_right: int
    both_wrong: int
    p_value: float = Field(
        description="Exact two-sided p-value of McNemar's test: the probability of a difference "
        "at least this large between equally good versions."
    )


class Shadow(BaseModel):
    """The shadow of a model, compared with its active version on the same images."""

    model: str
    version: int = Field(description="The version that is the shadow.")
    active: int = Field(description="The version whose answers are returned.")
    share: float = Field(description="Share of the images that the shadow classifies.")
    since: datetime = Field(description="Time at which it became the shadow, UTC.")
    images: int = Field(description="Images that both have classified, the newest 100,000.")
    agreement: ShadowAgreement
    confidence: ShadowMedians = Field(description="Of the newest 10,000 images.")
    milliseconds: ShadowMedians = Field(
        description="Of decoding and inference, without the queue, of the newest 10,000 images."
    )
    corrected: ShadowCorrected


def make_shadow(
    model: str, shadow: ShadowRecord, active: int, comparison: ShadowComparison
) -> Shadow:
    """Return the schema of a shadow and its comparison."""
    low, high = comparison.interval or (None, None)
    counts, medians = comparison.counts, comparison.medians
    return Shadow(
        model=model,
        version=shadow.version,
        active=active,
        share=shadow.share,
        since=shadow.since,
        images=counts.images,
        agreement=ShadowAgreement(value=comparison.agreement, low=low, high=high),
        confidence=ShadowMedians(
            active=medians and medians.active_confidence,
            shadow=medians and medians.shadow_confidence,
        ),
        milliseconds=ShadowMedians(
            active=medians and medians.active_milliseconds,
            shadow=medians and medians.shadow_milliseconds,
        ),
        corrected=ShadowCorrected(
            images=sum(counts[2:]),
            both_right=counts.both_right,
            only_active_right=counts.only_active_right,
            only_shadow_right=counts.only_shadow_right,
            both_wrong=counts.both_wrong,
            p_value=comparison.p_value,
        ),
    )
