"""The results of many images as a table, CSV and JSON. Imports no Streamlit."""

import csv
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from client import Classification, ClientError
from evaluation.escaping import escape_formula
from frontend.service import errors
from frontend.service.predictions import ImageFile, Outcome
from frontend.ui import formatting

Category = Literal["confident", "uncertain", "out_of_distribution", "failed"]
COLUMNS = ("name", "prediction", "confidence", "confidence level", "correction", "error")


@dataclass(frozen=True, slots=True)
class Result:
    """An image, its outcome, and the label that a user marked as right, if any."""

    image: ImageFile
    outcome: Outcome
    correction: str | None = None

    @property
    def category(self) -> Category:
        """The filter that shows this result."""
        if isinstance(self.outcome, ClientError):
            return "failed"
        if self.outcome.in_distribution is False:
            return "out_of_distribution"
        is_confident = self.outcome.confidence >= formatting.HIGH_CONFIDENCE
        return "confident" if is_confident else "uncertain"


def collect(
    images: Sequence[ImageFile], outcomes: Sequence[Outcome | None], corrections: Mapping[str, str]
) -> list[Result]:
    """Return a result for each image that has an outcome; `corrections` by classification ID."""
    return [
        Result(image, outcome, corrections.get(getattr(outcome, "id", "")))
        for image, outcome in zip(images, outcomes, strict=True)
        if outcome is not None
    ]


def rows(results: Iterable[Result]) -> list[dict[str, Any]]:
    """Return a row of COLUMNS per result; None where a column does not apply.

    Text is escaped against spreadsheet formulas, since the table on the page can be downloaded.
    """
    return [dict(zip(COLUMNS, map(_escape, _values(result)), strict=True)) for result in results]


def nonempty_columns(results: Iterable[Result]) -> list[str]:
    """Return the COLUMNS that have a value in at least one row."""
    values = [_values(result) for result in results]
    return [
        name for index, name in enumerate(COLUMNS) if any(row[index] is not None for row in values)
    ]


def as_csv(results: Iterable[Result]) -> bytes:
    """Return the rows as CSV in UTF-8 with a byte order mark."""
    out = io.StringIO(newline="")
    table = csv.DictWriter(out, COLUMNS)
    table.writeheader()
    table.writerows(rows(results))
    return out.getvalue().encode("utf-8-sig", "replace")


def as_json(results: Iterable[Result]) -> bytes:
    """Return a JSON list with a classification, or an error, per image."""
    return json.dumps([_as_object(result) for result in results], indent=1).encode()


def _values(result: Result) -> tuple[str | float | None, ...]:
    name, outcome = result.image.name, result.outcome
    if isinstance(outcome, ClientError):
        problem = errors.describe(outcome)
        return (name, None, None, None, None, f"{problem.message} {problem.advice}")
    level = formatting.confidence_level(outcome)
    return (name, outcome.prediction, outcome.confidence, level, result.correction, None)


def _escape(value: str | float | None) -> str | float | None:
    return escape_formula(value) if isinstance(value, str) else value


def _as_object(result: Result) -> dict[str, Any]:
    name, outcome = result.image.name, result.outcome
    if isinstance(outcome, Classification):
        fields = asdict(outcome) | {"filename": name, "correction": result.correction}
        return {key: value for key, value in fields.items() if key != "model_input"}
    return {"filename": name, "problem": errors.describe(outcome).message}
