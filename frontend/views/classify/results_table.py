"""The results of many images: summary, table, CSV and JSON. Imports no Streamlit."""

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
COLUMNS = (
    "name",
    "prediction",
    "confidence",
    "confidence level",
    "in distribution",
    "model",
    "correction",
    "error",
)
_IN_DISTRIBUTION = {True: "yes", False: "no", None: None}


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
        if self.outcome.labels is not None:
            return "confident" if self.outcome.labels else "uncertain"
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


def summary(results: Sequence[Result]) -> str:
    """Return the numbers of recognized, unlabeled, rejected, unreadable and failed images."""
    rejected = sum(result.category == "out_of_distribution" for result in results)
    failures = [one.outcome for one in results if isinstance(one.outcome, ClientError)]
    unreadable = sum(map(errors.is_unreadable, failures))
    without = sum(getattr(one.outcome, "labels", None) == () for one in results)
    parts = [f"{len(results) - rejected - len(failures) - without:,} recognized"]
    for number, text in (
        (without, "without a label"),
        (rejected, "not of the model's classes"),
        (unreadable, "unreadable"),
        (len(failures) - unreadable, "failed"),
    ):
        if number:
            parts.append(f"{number:,} {text}")
    return f"{formatting.count(len(results), 'image', 'images')}: {', '.join(parts)}."


def rows(results: Iterable[Result]) -> list[dict[str, Any]]:
    """Return a row of COLUMNS per result; None where a column does not apply.

    An image out of distribution has no prediction and no confidence. That of a multi-label model
    has all labels that reach their thresholds, and the confidence of the most probable one. Text is
    escaped against spreadsheet formulas, since the table on the page can be downloaded.
    """
    return [dict(zip(COLUMNS, map(_escape, _values(result)), strict=True)) for result in results]


def informative_columns(results: Iterable[Result]) -> list[str]:
    """Return the COLUMNS that have a value in at least one row.

    "model" and "in distribution" are omitted if all images have the same or none.
    """
    columns = zip(COLUMNS, zip(*map(_values, results), strict=True), strict=True)
    values = {name: set(column) - {None} for name, column in columns}
    same = {name for name in ("model", "in distribution") if len(values.get(name, ())) < 2}
    if values.get("in distribution") == {"no"}:
        same.discard("in distribution")
    return [name for name, each in values.items() if each and name not in same]


def as_csv(results: Iterable[Result]) -> bytes:
    """Return the rows as CSV in UTF-8 with a byte order mark."""
    out = io.StringIO(newline="")
    table = csv.DictWriter(out, COLUMNS)
    table.writeheader()
    table.writerows(rows(results))
    return out.getvalue().encode("utf-8-sig", "replace")


def as_json(results: Iterable[Result]) -> bytes:
    """Return a JSON list with a classification, or an error, per image.

    An image out of distribution has no prediction, only the closest labels in `top`.
    """
    return json.dumps([_as_object(result) for result in results], indent=1).encode()


def _values(result: Result) -> tuple[str | float | None, ...]:
    name, outcome = result.image.name, result.outcome
    if isinstance(outcome, ClientError):
        problem = errors.describe(outcome)
        return (name, *[None] * 6, f"{problem.message} {problem.advice}")
    level = formatting.confidence_level(outcome)
    common = (
        _IN_DISTRIBUTION[outcome.in_distribution],
        outcome.model.name,
        result.correction,
        None,
    )
    if outcome.in_distribution is False:
        return (name, None, None, level, *common)
    if outcome.labels is not None:
        labels = "; ".join(score.label for score in outcome.labels)
        return (name, labels or None, outcome.confidence if labels else None, level, *common)
    return (name, outcome.prediction, outcome.confidence, level, *common)


def _escape(value: str | float | None) -> str | float | None:
    return escape_formula(value) if isinstance(value, str) else value


def _as_object(result: Result) -> dict[str, Any]:
    name, outcome = result.image.name, result.outcome
    if isinstance(outcome, Classification):
        fields = asdict(outcome) | {"filename": name, "correction": result.correction}
        if outcome.in_distribution is False:
            fields |= {"prediction": None, "confidence": None}
        return {key: value for key, value in fields.items() if key != "model_input"}
    return {"filename": name, "problem": errors.describe(outcome).message}
