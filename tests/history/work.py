"""Records that no model has made."""

from datetime import UTC, datetime
from typing import Any

from ulid import ULID

from backend.history.record import Record, record

NOON = datetime(2026, 5, 4, 12, tzinfo=UTC)


def made(moment: datetime = NOON, picture: bytes | None = None, **fields: Any) -> Record:
    """The record of an answer at `moment`."""
    answer: dict[str, Any] = {
        "id": str(ULID.from_datetime(moment)),
        "filename": "seven.png",
        "model": {"name": "fake", "version": "1"},
        "prediction": "7",
        "confidence": 0.75,
        "top": [{"label": "7", "index": 7, "probability": 0.75}],
        "prediction_set": ["7", "1"],
        "coverage": 0.95,
        "in_distribution": True,
        "ood_score": -5.25,
        "timings_ms": {"decode": 1.5, "queue": 0.25, "inference": 2.0},
    }
    return record(answer | fields, "ab" * 32, picture)
