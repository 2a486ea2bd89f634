"""Output of the command `prism`: a table, or JSON Lines. Each result is printed at once."""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from .errors import BackendError, ClientError
from .types import Classification, ClassScore

OUT_OF_DISTRIBUTION = "not one of the model's classes"
NO_LABEL = "(no label)"  # of a multi-label model; the confidence is that of the most probable one


class Output(Protocol):
    """Prints results; `count` is their number."""

    count: int

    def write(self, path: Path, result: Classification | ClientError) -> None:
        """Print the result of one file."""


class Table:
    """A table with a row for each label of a classification; errors have no row."""

    def __init__(self) -> None:
        self.count = 0
        self._label_width = 16

    def write(self, path: Path, result: Classification | ClientError) -> None:
        """Print the rows of one file."""
        if not self.count:
            self._print_row("CONFIDENCE", "PREDICTION", "FILE")
        self.count += 1
        if isinstance(result, Classification):
            note = "" if result.in_distribution is not False else f"  ({OUT_OF_DISTRIBUTION})"
            for score in _rows(result):
                label = printable(score.label)
                self._print_row(f"{score.probability:.1%}", label, printable(path) + note)

    def _print_row(self, confidence: str, label: str, file: str) -> None:
        self._label_width = max(self._label_width, len(label))  # earlier rows are printed already
        print(f"{confidence:>10}  {label:<{self._label_width}}  {file}", flush=True)


class JsonLines:
    """One JSON object per file, with an `error` if it was not classified."""

    def __init__(self) -> None:
        self.count = 0

    def write(self, path: Path, result: Classification | ClientError) -> None:
        """Print the object of one file."""
        self.count += 1
        fields = _fields(result) if isinstance(result, Classification) else _error_fields(result)
        # ASCII, so that a name that is not valid UTF-8 keeps its bytes as lone surrogates.
        sys.stdout.write(json.dumps({"file": str(path)} | fields) + "\n")
        sys.stdout.flush()


def printable(value: Path | str) -> str:
    """Return text in which characters that a terminal does not show are escaped."""
    text = str(value)
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def _rows(result: Classification) -> Sequence[ClassScore]:
    """Return the labels of a table: of a multi-label model, those above their thresholds."""
    if result.labels is None:
        return result.top
    return result.labels or [ClassScore(NO_LABEL, -1, result.confidence)]


def _score(score: ClassScore) -> dict[str, Any]:
    return {"label": score.label, "index": score.index, "probability": score.probability}


def _fields(result: Classification) -> dict[str, Any]:
    labels = result.labels
    several = {} if labels is None else {"labels": [_score(score) for score in labels]}
    return several | {
        "model": {"name": result.model.name, "version": result.model.version},
        "prediction": result.prediction,
        "confidence": result.confidence,
        "top": [_score(score) for score in result.top],
        "prediction_set": result.prediction_set,
        "coverage": result.coverage,
        "in_distribution": result.in_distribution,
        "id": result.id,
    }


def _error_fields(error: ClientError) -> dict[str, Any]:
    if isinstance(error, BackendError):
        reason = error.detail or error.title
        return {"error": {"status": error.status, "code": error.code, "detail": reason}}
    return {"error": {"status": None, "code": "unreadable_file", "detail": str(error)}}
