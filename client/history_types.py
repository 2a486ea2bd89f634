"""Filters and results of the classification history."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime

from .types import ClassScore, ModelRef, Timings


@dataclass(frozen=True, slots=True)
class HistoryFilters:
    """Filters of the history; None matches everything.

    `label` is the prediction; `search` is a part of the file name, the prediction or the
    correction, ignoring case; `corrected` whether there is feedback; `wrong` whether the feedback
    contradicts the answer. `since` is inclusive, `until` exclusive; both are UTC if they have no
    time zone.
    """

    model: str | None = None
    label: str | None = None
    search: str | None = None
    corrected: bool | None = None
    wrong: bool | None = None
    in_distribution: bool | None = None
    since: datetime | None = None
    until: datetime | None = None

    def query(self) -> dict[str, str]:
        """Return the filters as query parameters."""
        return {name: _parameter(one) for name, one in asdict(self).items() if one is not None}


@dataclass(frozen=True, slots=True)
class StoredClassification:
    """A classification in the history; fields as in Classification.

    `time` and `corrected_at` are UTC. `sha256` is the digest of the uploaded file; `image` tells
    whether a thumbnail is stored. `correction` is the right label according to feedback, and
    `correction_model` its model, None if it is `model`. `none_of_these` is feedback that no label
    is right. `corrected_at` is None without feedback.
    """

    id: str
    time: datetime
    model: ModelRef
    prediction: str
    confidence: float
    top: tuple[ClassScore, ...]
    prediction_set: tuple[str, ...] | None
    coverage: float | None
    in_distribution: bool | None
    ood_score: float | None
    timings: Timings
    sha256: str
    filename: str | None
    image: bool
    correction: str | None
    corrected_at: datetime | None
    correction_model: str | None = None
    none_of_these: bool = False
    labels: tuple[ClassScore, ...] | None = None


@dataclass(frozen=True, slots=True)
class HistoryPage:
    """One page of classifications, newest first; `next` is the cursor of the next page, if any."""

    items: tuple[StoredClassification, ...]
    next: str | None


@dataclass(frozen=True, slots=True)
class HistoryStorage:
    """Whether `images` are stored, and the `days` after which classifications are deleted.

    `days` is None if they are kept. `location` is the database file, None unless the service is
    reachable from its own machine only.
    """

    images: bool
    days: int | None
    location: str | None


@dataclass(frozen=True, slots=True)
class Accuracy:
    """Number of answers that the feedback confirms and contradicts.

    `days` has the same by the day of the classification (YYYY-MM-DD), newest first. `total` is the
    number of all matching classifications, None above 100,000 and for days.
    """

    confirmed: int
    corrected: int
    days: Mapping[str, "Accuracy"]
    total: int | None = None

    @property
    def accuracy(self) -> float | None:
        """The fraction of right answers; None without feedback."""
        total = self.confirmed + self.corrected
        return self.confirmed / total if total else None


def _parameter(value: str | bool | datetime) -> str:
    if isinstance(value, datetime):
        return value.isoformat()
    return value if isinstance(value, str) else str(value).lower()
