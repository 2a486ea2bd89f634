"""Export of the history as CSV, as NDJSON, and as images in class folders."""

import csv
import hashlib
import io
import re
from collections.abc import Iterable, Iterator
from pathlib import PurePosixPath
from typing import Final
from zipfile import ZipFile, ZipInfo

import orjson

from backend.api.schemas.history import stored_classification, to_json
from backend.history.record import StoredRecord

# fmt: off
CSV_COLUMNS: Final = (
    "id", "time", "model", "version", "prediction", "confidence", "correction",
    "correction_model", "none_of_these", "corrected_at", "in_distribution", "ood_score",
    "prediction_set", "coverage", "top", "decode_ms", "queue_ms", "inference_ms", "sha256",
    "filename", "labels",
)
# fmt: on
MAX_IMAGES: Final = 100_000  # entries of a zip, which are listed in memory, 0.5 kB each
NONE_OF_THESE: Final = "none_of_these"
UNLABELED: Final = "unlabeled"

_MAX_NAME: Final = 100  # bytes of a folder, and of a file name without its id
_UNSAFE: Final = re.compile(r'[\x00-\x1f\x7f<>:"/\\|?*]')
_RESERVED: Final = re.compile(
    rf"(con|prn|aux|nul|com\d|lpt\d)(\..*)?|__macosx|{NONE_OF_THESE}|{UNLABELED}", re.IGNORECASE
)
# Spreadsheets evaluate a cell that starts with one of these characters, or with its full-width or
# small form, as a formula, some also after blanks, quotes and characters without a width.
# evaluation/escaping.py has the same pattern.
_FORMULA: Final = re.compile(
    "[\\s\\x00-\\x1f'\"\u00ad\u180e\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff]*"
    "[-=+@\t\r\n\u2212\ufe62\ufe63\ufe66\ufe6b\uff0b\uff0d\uff1d\uff20]"
)


def export_ndjson(pages: Iterable[list[StoredRecord]]) -> Iterator[bytes]:
    """Yield one JSON line for each record, a page at a time."""
    for page in pages:
        yield b"".join(to_json(stored_classification(record)) + b"\n" for record in page)


def export_csv(pages: Iterable[list[StoredRecord]]) -> Iterator[str]:
    """Yield CSV with a header, a page at a time; cells with lists and objects hold JSON."""
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, CSV_COLUMNS)
    writer.writeheader()
    yield buffer.getvalue()
    for page in pages:
        buffer.seek(0)
        buffer.truncate()
        writer.writerows(_csv_row(record) for record in page)
        yield buffer.getvalue()


def export_images(pages: Iterable[list[tuple[StoredRecord, bytes]]]) -> Iterator[bytes]:
    """Yield a zip with each WebP image in the folder of its right label, a page at a time.

    Images without feedback are in the folder UNLABELED, those without a right label in
    NONE_OF_THESE.
    """
    buffer = _ZipBuffer()
    with ZipFile(buffer, "w") as archive:
        for page in pages:
            for record, webp in page:
                time = record["time"].timetuple()[:6]
                archive.writestr(ZipInfo(_image_path(record), time), webp)
            yield buffer.take()
    yield buffer.take()


class _ZipBuffer(io.RawIOBase):
    """Holds what has been written and not yet taken; cannot seek."""

    def __init__(self) -> None:
        self._data = bytearray()

    def writable(self) -> bool:
        return True

    def write(self, data: bytes) -> int:  # type: ignore[override]
        self._data += data
        return len(data)

    def take(self) -> bytes:
        data = bytes(self._data)
        self._data.clear()
        return data


def _image_path(record: StoredRecord) -> str:
    """Return `LABEL/FILE NAME_ID.webp`; both are valid names on every system."""
    if record["none_of_these"]:
        folder = NONE_OF_THESE
    else:
        folder = UNLABELED if record["correction"] is None else folder_name(record["correction"])
    stem = _clean(PurePosixPath(record["filename"] or "image").stem) or "image"
    return f"{folder}/{stem}_{record['id']}.webp"


def folder_name(label: str) -> str:
    """Return a valid folder name; names of different labels differ."""
    name = _clean(label)
    if not name or name != label or _RESERVED.fullmatch(name):
        name = f"{name}_{hashlib.sha256(label.encode()).hexdigest()[:8]}"
    return name


def _clean(name: str) -> str:
    shortened = _UNSAFE.sub("_", name).encode()[:_MAX_NAME].decode(errors="ignore")
    return shortened.strip(". ")


def _csv_row(record: StoredRecord) -> dict[str, object]:
    row: dict[str, object] = {**record}
    for name in ("time", "corrected_at"):
        moment = record[name]
        row[name] = moment and moment.isoformat().replace("+00:00", "Z")
    for name in ("top", "labels", "prediction_set", "in_distribution", "none_of_these"):
        row[name] = None if row[name] is None else orjson.dumps(row[name]).decode()
    for stage, milliseconds in record["timings"].items():
        row[f"{stage}_ms"] = milliseconds
    return {name: _escape_formula(row.get(name)) for name in CSV_COLUMNS}


def _escape_formula(value: object) -> object:
    """Return a cell, prefixed with an apostrophe if it is text that is a formula."""
    return f"'{value}" if isinstance(value, str) and _FORMULA.match(value) else value
