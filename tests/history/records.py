"""Records of made-up classifications."""

from datetime import UTC, datetime
from typing import Any

from ulid import ULID

from backend.history import record
from backend.history.record import HistoryRecord

NOON = datetime(2026, 5, 4, 12, tzinfo=UTC)


def make_classification(time: datetime = NOON, **fields: Any) -> dict[str, Any]:
    """Return a classification at `time`."""
    classification: dict[str, Any] = {
        "id": str(ULID.from_datetime(time)),
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
    return classification | fields


def make_record(
    time: datetime = NOON,
    thumbnail: bytes | None = None,
    *,
    size: tuple[int, int] | None = None,
    brightness: float | None = None,
    **fields: Any,
) -> HistoryRecord:
    """Return the record of a classification at `time`."""
    return record.make_record(
        make_classification(time, **fields), "ab" * 32, thumbnail, size=size, brightness=brightness
    )
