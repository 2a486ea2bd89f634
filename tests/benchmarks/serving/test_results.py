"""The table, and its place in the documentation."""

import math
from pathlib import Path

import pytest

from benchmarks.serving.metrics import Figure, at_least, at_most
from benchmarks.serving.results import Result, keep, kept
from benchmarks.serving.table import BEGIN, END, insert, number, render

ROOT = Path(__file__).parents[3]


def cells(figure: Figure) -> list[str]:
    line = render([figure]).splitlines()[-1]
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_a_line_shows_the_spread_and_compares_the_median_with_the_target() -> None:
    figure = Figure("ResNet-50", "prism / raw", "", [0.97, 0.9, 0.96], at_least(0.95), "fine")
    assert cells(figure) == [
        *("ResNet-50", "prism / raw", "0.90", "0.96", "0.97", "≥ 0.95", "yes", "fine")
    ]


@pytest.mark.parametrize(
    ("target", "verdict"),
    [(at_least(2), "yes"), (at_least(2.1), "no"), (at_most(2), "yes"), (at_most(1.9), "no")],
)
def test_targets_are_bounds_from_below_or_above(target: object, verdict: str) -> None:
    assert Figure("", "", "", [1, 2, 9], target).verdict == verdict  # type: ignore[arg-type]


def test_without_a_target_there_is_no_verdict_and_without_a_value_none_either() -> None:
    assert Figure("", "", "", [1]).verdict == ""
    assert Figure("", "", "ms", [math.nan], at_most(50)).verdict == "—"


@pytest.mark.parametrize(
    ("value", "text"),
    [(4711.4, "4,711"), (47.11, "47.1"), (0.966, "0.97"), (math.nan, "—"), (math.inf, "∞")],
)
def test_numbers_have_three_digits(value: float, text: str) -> None:
    assert number(value) == text


def test_the_table_takes_the_place_between_the_markers(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n")
    for text in ("first", "second"):
        insert(page, text)
    assert page.read_text() == f"before\n{BEGIN}\n\nsecond\n\n{END}\nafter\n"
    page.write_text("no place")
    with pytest.raises(ValueError, match="no place"):
        insert(page, "text")


def test_the_documentation_has_a_place_for_the_table() -> None:
    text = (ROOT / "docs" / "performance.md").read_text()
    assert text.index(BEGIN) < text.index(END)


def test_figures_are_kept_from_run_to_run_each_scenario_in_its_turn(tmp_path: Path) -> None:
    first = Result("b", 1, 2.0, "m", [Figure("B", "x", "ms", [1.0], at_most(2), "n")])
    second = Result("a", 3, 4.0, "m", [Figure("A", "y", "", [2.0, 3.0])])
    for result in (first, second, first):
        keep(result, tmp_path)
    assert kept(["a", "b", "absent"], tmp_path) == [second, first]
