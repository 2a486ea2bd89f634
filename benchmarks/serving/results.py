"""Benchmark figures: targets, storage, and the Markdown table of the documentation."""

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from benchmarks.serving.stats import spread

BEGIN = "<!-- figures: begin, written by make bench -->"
END = "<!-- figures: end -->"

_TABLE_HEAD = (
    "| scenario | figure | min | median | max | target | reached | notes |",
    "| --- | --- | ---: | ---: | ---: | --- | --- | --- |",
)


@dataclass(frozen=True)
class Target:
    """A lower (≥) or upper (≤) bound."""

    sign: Literal["≥", "≤"]
    value: float

    def is_met(self, median: float) -> bool:
        """Return whether the median of the rounds reaches the target."""
        return median >= self.value if self.sign == "≥" else median <= self.value

    def __str__(self) -> str:
        return f"{self.sign} {self.value:g}"


@dataclass(frozen=True)
class Figure:
    """One row of the table: a value for each round, in `unit` (empty for a ratio)."""

    scenario: str
    label: str
    unit: str
    values: Sequence[float]
    target: Target | None = None
    note: str = ""

    @property
    def verdict(self) -> str:
        """Return `yes`, `no`, a dash if no value was measured, or "" if there is no target."""
        if self.target is None:
            return ""
        median = spread(self.values).median
        if math.isnan(median):
            return "—"
        return "yes" if self.target.is_met(median) else "no"


@dataclass(frozen=True)
class Result:
    """The figures of one scenario, with the options and the machine of the measurement."""

    scenario: str
    rounds: int
    seconds: float
    machine: str
    figures: list[Figure] = field(default_factory=list)


def at_least(value: float) -> Target:
    """Return a target that is a lower bound."""
    return Target("≥", value)


def at_most(value: float) -> Target:
    """Return a target that is an upper bound."""
    return Target("≤", value)


def save(result: Result, folder: Path) -> None:
    """Write a result to `folder`, in place of the previous one of its scenario."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{result.scenario}.json").write_text(json.dumps(asdict(result), indent=1))


def load(scenarios: Sequence[str], folder: Path) -> list[Result]:
    """Return the saved results of `scenarios`, in this order."""
    results = []
    for name in scenarios:
        path = folder / f"{name}.json"
        if path.exists():
            fields = json.loads(path.read_text())
            figures = [_parse_figure(figure) for figure in fields.pop("figures")]
            results.append(Result(**fields, figures=figures))
    return results


def _parse_figure(fields: dict[str, Any]) -> Figure:
    target = fields.pop("target")
    return Figure(**fields, target=Target(**target) if target else None)


def render_table(figures: Iterable[Figure]) -> str:
    """Return a Markdown table with one row for each figure; targets apply to the median."""
    return "\n".join((*_TABLE_HEAD, *map(_render_row, figures)))


def _render_row(figure: Figure) -> str:
    unit = f", {figure.unit}" if figure.unit else ""
    rounds = spread(figure.values)
    cells = (
        figure.scenario,
        figure.label + unit,
        *(format_number(value) for value in (rounds.low, rounds.median, rounds.high)),
        str(figure.target or ""),
        figure.verdict,
        figure.note,
    )
    return f"| {' | '.join(cells)} |"


def format_number(value: float) -> str:
    """Return three significant digits with at most two decimals; NaN is a dash."""
    if math.isnan(value):
        return "—"
    if math.isinf(value):
        return "∞"
    size = abs(value)
    return f"{value:,.0f}" if size >= 100 else f"{value:.1f}" if size >= 10 else f"{value:.2f}"


def update_document(path: Path, text: str) -> None:
    """Replace the text between the two markers of `path`; raise ValueError if one is missing."""
    before, begin, rest = path.read_text().partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise ValueError(f"{path} does not contain the markers {BEGIN} and {END}")
    path.write_text(f"{before}{BEGIN}\n\n{text}\n\n{END}{after}")
