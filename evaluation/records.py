"""Records as a CSV, one line per picture, and back."""

import csv
from collections.abc import Callable, Iterable, Mapping
from dataclasses import astuple, fields
from pathlib import Path
from typing import Any, Final

from evaluation.errors import ReportError
from evaluation.escaping import as_given, harmless
from evaluation.types import Record

COLUMNS: Final = tuple(field.name for field in fields(Record))

_FLAGS: Final = {"true": True, "false": False}
_PARSERS: Final[Mapping[str, Callable[[str], Any]]] = {
    "confidence": float,
    "label_probability": float,
    "in_prediction_set": _FLAGS.__getitem__,
    "set_size": int,
    "in_distribution": _FLAGS.__getitem__,
    "ood_score": float,
    "ms": float,
}


def write_records(path: Path, records: Iterable[Record]) -> None:
    """Write a header and one line per record; empty cells for None."""
    with path.open("w", encoding="utf-8", errors="backslashreplace", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        for record in records:
            writer.writerow(map(_cell, astuple(record)))


def read_records(path: Path) -> list[Record]:
    """Read what `write_records` wrote; raises ReportError where it is something else."""
    try:
        with path.open(encoding="utf-8", newline="") as file:
            rows = csv.DictReader(file, strict=True)
            if tuple(rows.fieldnames or ()) != COLUMNS:
                raise ReportError(f"{path} is not the table of a report: its columns are others")
            return [_record(row) for row in rows]
    except OSError as error:
        raise ReportError(f"{path} cannot be read: {error.strerror}") from error
    except (ValueError, LookupError, TypeError, AttributeError, csv.Error) as error:
        raise ReportError(f"{path} is damaged: a line is not as it was written") from error


def _record(row: Mapping[str, str]) -> Record:
    if None in row.values():
        raise ValueError("a line ends early")
    values = {key: _PARSERS.get(key, as_given)(text) for key, text in row.items() if text != ""}
    return Record(**{"label": None, **values})


def _cell(value: object) -> object:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return harmless(value)
    return f"{value:.7g}" if isinstance(value, float) else value
