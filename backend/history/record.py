"""What is remembered of one answer."""

import hashlib
import io
from datetime import UTC, datetime, timedelta
from typing import Any, Final, TypedDict

from ulid import ULID

from backend.inference.errors import ImageError
from backend.inference.images.image_reader import Reader

TOP: Final = 10  # of the most probable classes are kept, at most
SIDE: Final = 256  # pixels of a kept picture, at most
_QUALITY: Final = 80  # of WebP, where 100 is the largest file
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class Record(TypedDict):
    """One answer; the names are those of the columns.

    `time` is UTC and that of the id, to the millisecond. `top` is a list of {label, index,
    probability}, NumPy's floats included, `timings` in milliseconds by stage, `picture` WebP.
    """

    id: str
    time: datetime
    model: str
    version: str
    prediction: str
    confidence: float
    top: list[dict[str, Any]]
    prediction_set: list[str] | None
    coverage: float | None
    in_distribution: bool | None
    ood_score: float | None
    timings: dict[str, float]
    sha256: str
    filename: str | None
    picture: bytes | None


class Kept(Record):
    """A record as it is read, without its picture."""

    correction: str | None
    corrected_at: datetime | None
    has_picture: bool


def record(answer: dict[str, Any], sha256: str, picture: bytes | None) -> Record:
    """What is remembered of a filled `Classification`."""
    filename = answer["filename"]
    return {
        "id": answer["id"],
        "time": time_of(answer["id"]),
        "model": answer["model"]["name"],
        "version": answer["model"]["version"],
        "prediction": answer["prediction"],
        "confidence": float(answer["confidence"]),
        "top": answer["top"][:TOP],
        "prediction_set": answer["prediction_set"],
        "coverage": answer["coverage"],
        "in_distribution": answer["in_distribution"],
        "ood_score": answer["ood_score"],
        "timings": answer["timings_ms"],
        "sha256": sha256,
        # PostgreSQL has no text with a zero in it.
        "filename": filename and filename.replace("\0", "\ufffd"),
        "picture": picture,
    }


def time_of(answer_id: str) -> datetime:
    """The moment at which the id was made, UTC."""
    return _EPOCH + timedelta(milliseconds=ULID.from_str(answer_id).milliseconds)


def first_id(moment: datetime) -> str:
    """The least id of that moment: those of earlier answers sort before it."""
    since = (moment - _EPOCH) // timedelta(milliseconds=1)
    return str(ULID(max(0, since).to_bytes(6, "big") + bytes(10)))


def digest(data: bytes) -> str:
    """SHA-256 of a file, in hexadecimal."""
    return hashlib.sha256(data).hexdigest()


def shrunken(data: bytes, reader: Reader) -> bytes | None:
    """A picture of `SIDE` pixels at most as WebP; None where it cannot be made."""
    try:
        with reader.read(data, SIDE) as image:
            image.thumbnail((SIDE, SIDE))
    except ImageError:
        return None
    file = io.BytesIO()
    image.save(file, "WEBP", quality=_QUALITY)
    return file.getvalue()
