"""Figures as a Markdown table, and its place in the documentation."""

import math
from collections.abc import Iterable
from pathlib import Path

from benchmarks.serving.metrics import Figure
from benchmarks.serving.stats import spread

BEGIN = "<!-- figures: begin, written by make bench -->"
END = "<!-- figures: end -->"

_HEAD = (
    "| scenario | figure | min | median | max | target | reached | notes |",
    "| --- | --- | ---: | ---: | ---: | --- | --- | --- |",
)


def render(figures: Iterable[Figure]) -> str:
    """The table, one line a figure; the median is compared with the target."""
    return "\n".join((*_HEAD, *map(_line, figures)))


def _line(figure: Figure) -> str:
    unit = f", {figure.unit}" if figure.unit else ""
    rounds = spread(figure.values)
    cells = (
        figure.scenario,
        figure.what + unit,
        *(number(value) for value in (rounds.low, rounds.median, rounds.high)),
        str(figure.target or ""),
        figure.verdict,
        figure.note,
    )
    return f"| {' | '.join(cells)} |"


def number(value: float) -> str:
    """Three significant digits, no more than two decimals; a dash where there is none."""
    if math.isnan(value):
        return "—"
    if math.isinf(value):
        return "∞"
    size = abs(value)
    return f"{value:,.0f}" if size >= 100 else f"{value:.1f}" if size >= 10 else f"{value:.2f}"


def insert(page: Path, text: str) -> None:
    """Replace what lies between the two markers of `page`; raises ValueError without them."""
    before, begin, rest = page.read_text().partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise ValueError(f"{page} has no place for the figures")
    page.write_text(f"{before}{BEGIN}\n\n{text}\n\n{END}{after}")
