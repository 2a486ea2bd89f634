"""Reports on disk: what a folder of one holds, written and read.

evaluation-mnist-cnn-20250131-120000/
  report.html       opens alone
  report.json       every figure
  predictions.csv   one line per picture
  outliers.csv      the same for the outliers, where there are any
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from evaluation.compare import Comparison, Measured
from evaluation.document import document
from evaluation.errors import ReportError
from evaluation.html import render, render_comparison
from evaluation.records import read_records, write_records
from evaluation.results import Evaluation

REPORT: Final = "report.json"
PAGE: Final = "report.html"
RECORDS: Final = "predictions.csv"
OUTLIERS: Final = "outliers.csv"
COMPARISON: Final = "comparison.json"
COMPARISON_PAGE: Final = "comparison.html"


def write(evaluation: Evaluation, folder: Path) -> list[Path]:
    """Write the report into `folder`, the table first; returns the files.

    Raises ReportError where that fails.
    """
    with _told(folder):
        folder.mkdir(parents=True, exist_ok=True)
        files = [folder / PAGE, folder / REPORT, folder / RECORDS]
        write_records(folder / RECORDS, evaluation.records)
        if evaluation.outliers:
            files.append(folder / OUTLIERS)
            write_records(folder / OUTLIERS, evaluation.outliers.records)
        _write_json(folder / REPORT, document(evaluation))
        _write(folder / PAGE, render(evaluation))
    return files


def write_comparison(comparison: Comparison, folder: Path) -> list[Path]:
    """Write the comparison into `folder`; returns the files.

    Raises ReportError where that fails.
    """
    found = asdict(comparison) | {"difference": comparison.difference.tolist()}
    for side in ("shown_a", "shown_b"):
        del found[side]
    with _told(folder):
        folder.mkdir(parents=True, exist_ok=True)
        _write_json(folder / COMPARISON, found)
        page = folder / COMPARISON_PAGE
        _write(page, render_comparison(comparison))
    return [page, folder / COMPARISON]


def read(folder: Path) -> Measured:
    """Read what a comparison needs of the report in `folder`.

    Raises ReportError where it is none, or damaged.
    """
    try:
        found = json.loads((folder / REPORT).read_text(encoding="utf-8"))
        model = found["model"]
        name, labels = str(model["name"]), tuple(map(str, model["labels"]))
    except FileNotFoundError as error:
        raise ReportError(f"{folder} is no report: it has no {REPORT}") from error
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise ReportError(f"{folder}: {REPORT} cannot be read") from error
    return Measured(name, labels, read_records(folder / RECORDS))


def _write_json(path: Path, value: dict[str, Any]) -> None:
    text = json.dumps(value, allow_nan=False, ensure_ascii=False)
    _write(path, text + "\n")


def _write(path: Path, text: str) -> None:
    # Whatever a picture or a label is called, what was measured is not lost for it.
    path.write_text(text, encoding="utf-8", errors="backslashreplace")


@contextmanager
def _told(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise ReportError(f"{folder}: the report cannot be written: {error.strerror}") from error
