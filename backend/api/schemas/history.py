"""The shapes of the history: what OpenAPI shows, and the functions that fill them."""

import csv
import io
from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Any, Final

import orjson
from pydantic import BaseModel, ConfigDict, Field

from backend.api.schemas.classify import ClassScore, ModelRef, TimingsMs
from backend.history.record import Kept

# fmt: off
_COLUMNS: Final = (
    "id", "time", "model", "version", "prediction", "confidence", "correction", "corrected_at",
    "in_distribution", "ood_score", "prediction_set", "coverage", "top", "decode_ms", "queue_ms",
    "inference_ms", "sha256", "filename",
)
# fmt: on
# A cell that begins so would be taken for a formula, and anybody may have sent it.
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")


class StoredAnswer(BaseModel):
    """An answer as it is remembered."""

    id: str
    time: datetime = Field(description="UTC")
    model: ModelRef
    prediction: str
    confidence: float = Field(ge=0, le=1)
    top: list[ClassScore] = Field(description="as answered, 10 at most")
    prediction_set: list[str] | None
    coverage: float | None
    in_distribution: bool | None
    ood_score: float | None
    timings_ms: TimingsMs
    sha256: str = Field(description="of the picture's file")
    filename: str | None
    image: bool = Field(description="whether a small copy of the picture is kept")
    correction: str | None = Field(description="the right label, as a person says")
    corrected_at: datetime | None


class HistoryPage(BaseModel):
    """Some of the answers, the newest first."""

    answers: list[StoredAnswer]
    next: str | None = Field(description="`cursor` of the page that follows; null where none does")


class Correction(BaseModel):
    """What a person says of an answer."""

    model_config = ConfigDict(extra="forbid")

    correction: str | None = Field(
        max_length=500, pattern=r"^[^\x00]*$", description="the right label; null: forget it"
    )


class Deleted(BaseModel):
    """How many answers were forgotten."""

    deleted: int


class DayAccuracy(BaseModel):
    """The answers of one day (UTC) that a person has looked at."""

    day: str
    confirmed: int = Field(description="their correction is what was predicted")
    corrected: int = Field(description="their correction is another label")
    accuracy: float = Field(ge=0, le=1, description="share of those confirmed")


class Accuracy(BaseModel):
    """What the corrections say, by the day of the answer, the newest first."""

    confirmed: int
    corrected: int
    accuracy: float | None = Field(description="null where nothing was looked at")
    days: list[DayAccuracy]


def stored_answer(kept: Kept) -> dict[str, Any]:
    """Fill a `StoredAnswer`, as data for orjson."""
    return {
        "id": kept["id"],
        "time": kept["time"],
        "model": {"name": kept["model"], "version": kept["version"]},
        "prediction": kept["prediction"],
        "confidence": kept["confidence"],
        "top": kept["top"],
        "prediction_set": kept["prediction_set"],
        "coverage": kept["coverage"],
        "in_distribution": kept["in_distribution"],
        "ood_score": kept["ood_score"],
        "timings_ms": kept["timings"],
        "sha256": kept["sha256"],
        "filename": kept["filename"],
        "image": kept["has_picture"],
        "correction": kept["correction"],
        "corrected_at": kept["corrected_at"],
    }


def dumps(value: object) -> bytes:
    """JSON, moments with a Z."""
    return orjson.dumps(value, option=orjson.OPT_UTC_Z)


def ndjson(pages: Iterable[list[Kept]]) -> Iterator[bytes]:
    """One line of JSON for each answer, a page at a time."""
    for page in pages:
        yield b"".join(dumps(stored_answer(kept)) + b"\n" for kept in page)


def table(pages: Iterable[list[Kept]]) -> Iterator[str]:
    """CSV with a head, a page at a time; lists and objects are JSON in their cells."""
    file = io.StringIO()
    writer = csv.DictWriter(file, _COLUMNS)
    writer.writeheader()
    yield file.getvalue()
    for page in pages:
        file.seek(0)
        file.truncate()
        writer.writerows(_cells(kept) for kept in page)
        yield file.getvalue()


def _cells(kept: Kept) -> dict[str, object]:
    cells: dict[str, object] = {**kept}
    for name in ("time", "corrected_at"):
        moment = kept[name]
        cells[name] = moment and moment.isoformat().replace("+00:00", "Z")
    for name in ("top", "prediction_set", "in_distribution"):
        cells[name] = None if cells[name] is None else orjson.dumps(cells[name]).decode()
    for stage, milliseconds in kept["timings"].items():
        cells[f"{stage}_ms"] = milliseconds
    filename = kept["filename"] or ""
    cells["filename"] = f"'{filename}" if filename.startswith(_FORMULA) else filename
    return {name: cells.get(name) for name in _COLUMNS}
