"""Export of the history as CSV and as NDJSON."""

import csv
import io
from collections.abc import Iterable, Iterator
from typing import Final

import orjson

from backend.api.schemas.history import stored_classification, to_json
from backend.history.record import StoredRecord

# fmt: off
CSV_COLUMNS: Final = (
    "id", "time", "model", "version", "prediction", "confidence", "correction",
    "correction_model", "none_of_these", "corrected_at", "in_distribution", "ood_score",
    "prediction_set", "coverage", "top", "decode_ms", "queue_ms", "inference_ms", "sha256",
    "filename",
)
# fmt: on
# A spreadsheet evaluates a cell that starts with one of these, and clients choose the file names.
_FORMULA_PREFIXES: Final = ("=", "+", "-", "@", "\t", "\r")


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


def _csv_row(record: StoredRecord) -> dict[str, object]:
    row: dict[str, object] = {**record}
    for name in ("time", "corrected_at"):
        moment = record[name]
        row[name] = moment and moment.isoformat().replace("+00:00", "Z")
    for name in ("top", "prediction_set", "in_distribution", "none_of_these"):
        row[name] = None if row[name] is None else orjson.dumps(row[name]).decode()
    for stage, milliseconds in record["timings"].items():
        row[f"{stage}_ms"] = milliseconds
    filename = record["filename"] or ""
    row["filename"] = f"'{filename}" if filename.startswith(_FORMULA_PREFIXES) else filename
    return {name: row.get(name) for name in CSV_COLUMNS}
