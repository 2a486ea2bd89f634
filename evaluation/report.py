"""Reports on disk: JSON, HTML and CSV files in a folder.

evaluation-mnist-cnn-20250131-120000/
  report.html       self-contained page
  report.json       all metrics
  predictions.csv   one row per image
  outliers.csv      one row per outlier, if there are any
"""

import csv
import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, astuple, fields
from pathlib import Path
from typing import Any, Final

import numpy as np

from evaluation.compare import Comparison, ModelRecords
from evaluation.errors import ReportError
from evaluation.escaping import escape_formula, unescape_formula
from evaluation.html import render_comparison, render_report
from evaluation.results import MAX_LISTED_FAILURES, Evaluation, Outliers
from evaluation.types import Record

REPORT: Final = "report.json"
PAGE: Final = "report.html"
RECORDS: Final = "predictions.csv"
OUTLIERS: Final = "outliers.csv"
COMPARISON: Final = "comparison.json"
COMPARISON_PAGE: Final = "comparison.html"
FORMAT: Final = 1  # version of the JSON report
COLUMNS: Final = tuple(field.name for field in fields(Record))

_BOOLEANS: Final = {"true": True, "false": False}
_PARSERS: Final[Mapping[str, Callable[[str], Any]]] = {
    "confidence": float,
    "label_probability": float,
    "in_prediction_set": _BOOLEANS.__getitem__,
    "set_size": int,
    "in_distribution": _BOOLEANS.__getitem__,
    "ood_score": float,
    "ms": float,
}

JsonObject = dict[str, Any]


def write(evaluation: Evaluation, folder: Path) -> list[Path]:
    """Write the report into `folder`, records first, and return the files.

    Raise ReportError if that fails.
    """
    with _report_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        files = [folder / PAGE, folder / REPORT, folder / RECORDS]
        write_records(folder / RECORDS, evaluation.records)
        if evaluation.outliers:
            files.append(folder / OUTLIERS)
            write_records(folder / OUTLIERS, evaluation.outliers.records)
        _write_json(folder / REPORT, to_json_object(evaluation))
        _write_text(folder / PAGE, render_report(evaluation))
    return files


def write_comparison(comparison: Comparison, folder: Path) -> list[Path]:
    """Write the comparison into `folder` and return the files.

    Raise ReportError if that fails.
    """
    content = asdict(comparison) | {"difference": comparison.difference.tolist()}
    content["pictures"] = content.pop("image_count")
    for key in ("examples_a", "examples_b"):
        del content[key]
    with _report_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        _write_json(folder / COMPARISON, content)
        page = folder / COMPARISON_PAGE
        _write_text(page, render_comparison(comparison))
    return [page, folder / COMPARISON]


def read(folder: Path) -> ModelRecords:
    """Read the records of the report in `folder`, for a comparison.

    Raise ReportError if there is no report, or it is damaged.
    """
    try:
        report = json.loads((folder / REPORT).read_text(encoding="utf-8"))
        model = report["model"]
        name, labels = str(model["name"]), tuple(map(str, model["labels"]))
        is_multi_label = report.get("label_metrics") is not None
    except FileNotFoundError as error:
        raise ReportError(f"{folder} is not a report: it has no {REPORT}") from error
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise ReportError(f"{folder}: {REPORT} cannot be read") from error
    if is_multi_label:
        raise ReportError(
            f"{folder} is the report of a multi-label model; such reports cannot be compared"
        )
    return ModelRecords(name, labels, read_records(folder / RECORDS))


def to_json_object(evaluation: Evaluation) -> JsonObject:
    """Return all metrics as JSON types; what was not measured is null.

    `records` and `failures` are counts; up to 100 failures are listed.
    """
    return {
        "format": FORMAT,
        "model": asdict(evaluation.model),
        "source": evaluation.source,
        "total": evaluation.total,
        "records": len(evaluation.records),
        "seconds": evaluation.seconds,
        "stopped": evaluation.stopped,
        "notes": list(evaluation.notes),
        "failures": _failures(evaluation.failures),
        "metrics": _to_json(asdict(evaluation.metrics)) if evaluation.metrics else None,
        "prediction_sets": asdict(evaluation.sets) if evaluation.sets else None,
        "flagged": evaluation.flagged,
        "latency_ms": asdict(evaluation.latency) if evaluation.latency else None,
        "mistakes": [asdict(mistake.record) for mistake in evaluation.mistakes],
        "outliers": _outliers(evaluation.outliers) if evaluation.outliers else None,
        "label_metrics": _to_json(asdict(evaluation.label_metrics))
        if evaluation.label_metrics
        else None,
    }


def write_records(path: Path, records: Iterable[Record]) -> None:
    """Write a CSV file with a header and one row per record; None is an empty cell."""
    with path.open("w", encoding="utf-8", errors="backslashreplace", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        for record in records:
            writer.writerow(map(_to_cell, astuple(record)))


def read_records(path: Path) -> list[Record]:
    """Read a file of `write_records`; raise ReportError if it is another file or damaged."""
    try:
        with path.open(encoding="utf-8", newline="") as file:
            rows = csv.DictReader(file, strict=True)
            if tuple(rows.fieldnames or ()) != COLUMNS:
                raise ReportError(f"{path} is not the CSV file of a report: its columns differ")
            return [_parse_record(row) for row in rows]
    except OSError as error:
        raise ReportError(f"{path} cannot be read: {error.strerror}") from error
    except (ValueError, LookupError, TypeError, AttributeError, csv.Error) as error:
        raise ReportError(f"{path} is damaged: a row cannot be parsed") from error


def _parse_record(row: Mapping[str, str]) -> Record:
    if None in row.values():
        raise ValueError("the row has too few cells")
    values = {
        key: _PARSERS.get(key, unescape_formula)(text) for key, text in row.items() if text != ""
    }
    return Record(**{"label": None, **values})


def _to_cell(value: object) -> object:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return escape_formula(value)
    return f"{value:.7g}" if isinstance(value, float) else value


def _failures(failures: tuple[Record, ...]) -> JsonObject:
    return {
        "count": len(failures),
        "reasons": dict(Counter(failure.error for failure in failures).most_common()),
        "first": [
            {"name": failure.name, "error": failure.error}
            for failure in failures[:MAX_LISTED_FAILURES]
        ],
    }


def _outliers(outliers: Outliers) -> JsonObject:
    failures = tuple(record for record in outliers.records if record.error is not None)
    return {
        "source": outliers.source,
        "records": len(outliers.records),
        "answered": outliers.answered,
        "flagged": outliers.flagged,
        "auroc": outliers.auroc,
        "failures": _failures(failures),
    }


def _to_json(value: Any) -> Any:
    """Return the value with all nested arrays and tuples as lists."""
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, dict):
        return {key: _to_json(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_to_json(item) for item in value]
    return value


def _write_json(path: Path, value: JsonObject) -> None:
    text = json.dumps(value, allow_nan=False, ensure_ascii=False)
    _write_text(path, text + "\n")


def _write_text(path: Path, text: str) -> None:
    # A name or label that UTF-8 cannot encode must not prevent the report.
    path.write_text(text, encoding="utf-8", errors="backslashreplace")


@contextmanager
def _report_errors(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise ReportError(f"{folder}: the report cannot be written: {error.strerror}") from error
