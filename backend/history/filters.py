"""What may be looked for among the answers, and what is found of their corrections."""

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class Search:
    """Which answers: None means any. `since` is included, `until` is not; both are aware."""

    model: str | None = None
    label: str | None = None
    corrected: bool | None = None
    in_distribution: bool | None = None
    since: datetime | None = None
    until: datetime | None = None


@dataclass(frozen=True, slots=True)
class Day:
    """The answers of one day (UTC) that a person has looked at.

    Those `confirmed` were right, those `corrected` were not.
    """

    day: str
    confirmed: int
    corrected: int
