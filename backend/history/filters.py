"""Filters of the history, and the accuracy per day."""

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class HistoryFilters:
    """Filters; None matches everything. `since` is inclusive, `until` exclusive; both are aware."""

    model: str | None = None
    label: str | None = None
    corrected: bool | None = None
    in_distribution: bool | None = None
    since: datetime | None = None
    until: datetime | None = None


@dataclass(frozen=True, slots=True)
class DailyAccuracy:
    """Number of predictions of one day (UTC) that users confirmed and corrected."""

    day: str
    confirmed: int
    corrected: int
