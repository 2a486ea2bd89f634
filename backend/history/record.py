"""Records of the history, their thumbnails and filters, and the accuracy per day."""

import hashlib
import io
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final, TypedDict

from ulid import ULID

from backend.inference.errors import ImageError
from backend.inference.images.image_reader import ImageReader

MAX_TOP: Final = 10  # stored entries of `top`
MAX_LABELS: Final = 100  # stored entries of `labels`
THUMBNAIL_SIDE: Final = 256  # pixels of the longer side
_WEBP_QUALITY: Final = 80  # of 100
_MAX_SIDE: Final = 2**31 - 1
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class HistoryRecord(TypedDict):
    """One classification; keys are column names, except `thumbnail`.

    `time` is UTC and taken from the id, in milliseconds. `top` is a list of {label, index,
    probability}, which may be NumPy floats, and so is `labels`, those of a multi-label model that
    reach their thresholds, else None; `timings` are milliseconds per stage; `thumbnail` is a
    WebP file. `width` and `height` are pixels of the file, before it is turned upright;
    `brightness` is the mean of the model input, in [0, 1].
    """

    id: str
    time: datetime
    model: str
    version: str
    prediction: str
    confidence: float
    top: list[dict[str, Any]]
    labels: list[dict[str, Any]] | None
    prediction_set: list[str] | None
    coverage: float | None
    in_distribution: bool | None
    ood_score: float | None
    timings: dict[str, float]
    sha256: str
    filename: str | None
    width: int | None
    height: int | None
    brightness: float | None
    thumbnail: bytes | None


class Feedback(TypedDict):
    """Feedback of a user; keys are column names.

    `correction` is the right label, `correction_model` its model unless it is the one that
    classified. `none_of_these` says that no label of any served model is right. `corrected_at` is
    None without feedback.
    """

    correction: str | None
    correction_model: str | None
    none_of_these: bool
    corrected_at: datetime | None


class StoredRecord(HistoryRecord, Feedback):
    """A record as read from the database, without its thumbnail."""

    has_thumbnail: bool


@dataclass(frozen=True, slots=True)
class HistoryFilters:
    """Filters; None matches everything. `since` is inclusive, `until` exclusive; both are aware.

    `label` is the prediction; `search` is a part of the file name, the prediction or the
    correction, ignoring case. `corrected` is whether there is feedback, `wrong` whether it
    contradicts the answer.
    """

    model: str | None = None
    label: str | None = None
    search: str | None = None
    corrected: bool | None = None
    wrong: bool | None = None
    in_distribution: bool | None = None
    since: datetime | None = None
    until: datetime | None = None


@dataclass(frozen=True, slots=True)
class DailyAccuracy:
    """Number of answers of one day that the feedback confirms and contradicts."""

    day: str
    confirmed: int
    corrected: int


def make_record(
    classification: dict[str, Any],
    sha256: str,
    thumbnail: bytes | None,
    *,
    size: tuple[int, int] | None = None,
    brightness: float | None = None,
) -> HistoryRecord:
    """Return the record of a `Classification` of an image of `size` (width, height)."""
    filename = classification["filename"]
    labels = classification.get("labels")
    # A header may state any number; the columns hold 32 bits.
    width, height = size if size and max(size) <= _MAX_SIDE else (None, None)
    return {
        "id": classification["id"],
        "time": time_of(classification["id"]),
        "model": classification["model"]["name"],
        "version": classification["model"]["version"],
        "prediction": classification["prediction"],
        "confidence": float(classification["confidence"]),
        "top": classification["top"][:MAX_TOP],
        "labels": labels and labels[:MAX_LABELS],
        "prediction_set": classification["prediction_set"],
        "coverage": classification["coverage"],
        "in_distribution": classification["in_distribution"],
        "ood_score": classification["ood_score"],
        "timings": classification["timings_ms"],
        "sha256": sha256,
        # PostgreSQL rejects text that contains NUL.
        "filename": filename and filename.replace("\0", "\ufffd"),
        "width": width,
        "height": height,
        "brightness": brightness,
        "thumbnail": thumbnail,
    }


def make_feedback(
    correction: str | None = None, model: str | None = None, *, none_of_these: bool = False
) -> Feedback:
    """Return feedback given now; without arguments the state without feedback."""
    has_feedback = none_of_these or correction is not None
    return {
        "correction": correction,
        "correction_model": model,
        "none_of_these": none_of_these,
        "corrected_at": datetime.now(UTC) if has_feedback else None,
    }


def time_of(classification_id: str) -> datetime:
    """Return the creation time of an id, in UTC."""
    return _EPOCH + timedelta(milliseconds=ULID.from_str(classification_id).milliseconds)


def first_id(time: datetime) -> str:
    """Return the smallest id of `time`: earlier ids sort before it."""
    since = (time - _EPOCH) // timedelta(milliseconds=1)
    return str(ULID(max(0, since).to_bytes(6, "big") + bytes(10)))


def digest(data: bytes) -> str:
    """Return the SHA-256 digest in hexadecimal."""
    return hashlib.sha256(data).hexdigest()


def make_thumbnail(data: bytes, reader: ImageReader) -> bytes | None:
    """Return the image as WebP with at most `THUMBNAIL_SIDE` pixels; None if it is unreadable."""
    try:
        with reader.read(data, THUMBNAIL_SIDE) as image:
            image.thumbnail((THUMBNAIL_SIDE, THUMBNAIL_SIDE))
    except ImageError:
        return None
    file = io.BytesIO()
    image.save(file, "WEBP", quality=_WEBP_QUALITY)
    return file.getvalue()
