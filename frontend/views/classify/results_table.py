"""The outcomes for many pictures as a table, to look at and to take along. No Streamlit in here."""

import csv
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from client import Classification, ClientError
from evaluation.spreadsheet import harmless
from frontend.datasets.images import Picture
from frontend.service import errors
from frontend.service.predictions import Outcome
from frontend.ui import formatting

Verdict = Literal["sure", "unsure", "unlike", "bad"]
COLUMNS = ("name", "prediction", "confidence", "how sure", "corrected to", "problem")


@dataclass(frozen=True, slots=True)
class Result:
    """A picture, what was answered, and what a person says is right, if anything."""

    picture: Picture
    outcome: Outcome
    correction: str | None = None

    @property
    def verdict(self) -> Verdict:
        """How far the answer can be relied on."""
        if isinstance(self.outcome, ClientError):
            return "bad"
        if self.outcome.in_distribution is False:
            return "unlike"
        return "sure" if self.outcome.confidence >= formatting.LIKELY else "unsure"


def collect(
    pictures: Sequence[Picture], outcomes: Sequence[Outcome | None], corrections: Mapping[str, str]
) -> list[Result]:
    """Return those pictures that there is an outcome for."""
    return [
        Result(picture, outcome, corrections.get(getattr(outcome, "id", "")))
        for picture, outcome in zip(pictures, outcomes, strict=True)
        if outcome is not None
    ]


def rows(found: Iterable[Result]) -> list[dict[str, Any]]:
    """Return a row of COLUMNS for each result; what does not apply is None.

    Nothing in it is a formula to a spreadsheet: the table on the page can be taken along too.
    """
    return [dict(zip(COLUMNS, map(_cell, _row(result)), strict=True)) for result in found]


def as_csv(found: Iterable[Result]) -> bytes:
    """Return the rows as CSV in UTF-8."""
    out = io.StringIO(newline="")
    table = csv.DictWriter(out, COLUMNS)
    table.writeheader()
    table.writerows(rows(found))
    return out.getvalue().encode("utf-8-sig", "replace")


def as_json(found: Iterable[Result]) -> bytes:
    """Return the answers as a JSON list, or what kept a picture from having one."""
    return json.dumps([_object(result) for result in found], indent=1).encode()


def _row(result: Result) -> tuple[str | float | None, ...]:
    name, outcome = result.picture.name, result.outcome
    if isinstance(outcome, ClientError):
        problem = errors.of(outcome)
        return (name, None, None, None, None, f"{problem.what} {problem.advice}")
    sure = formatting.certainty(outcome)
    return (name, outcome.prediction, outcome.confidence, sure, result.correction, None)


def _cell(value: str | float | None) -> str | float | None:
    return harmless(value) if isinstance(value, str) else value


def _object(result: Result) -> dict[str, Any]:
    name, outcome = result.picture.name, result.outcome
    if isinstance(outcome, Classification):
        found = asdict(outcome) | {"filename": name, "correction": result.correction}
        return {key: value for key, value in found.items() if key != "model_input"}
    return {"filename": name, "problem": errors.of(outcome).what}


def shown_columns(found: Iterable[Result]) -> list[str]:
    """Return those COLUMNS that say something."""
    values = [_row(result) for result in found]
    said = [any(row[index] is not None for row in values) for index in range(len(COLUMNS))]
    return [name for name, is_said in zip(COLUMNS, said, strict=True) if is_said]
