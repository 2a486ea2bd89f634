"""Tests of figures, their storage and the report."""

import math
from pathlib import Path

import pytest

from benchmarks.serving.report import (
    BEGIN,
    END,
    format_number,
    render_report,
    render_table,
    update_document,
)
from benchmarks.serving.results import (
    CPU_UNIT,
    CurvePoint,
    Figure,
    Result,
    Target,
    at_least,
    at_most,
    load,
    save,
)

ROOT = Path(__file__).parents[3]


def cells(figure: Figure) -> list[str]:
    line = render_table([figure]).splitlines()[-1]
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_row_shows_spread_and_compares_median_with_target() -> None:
    figure = Figure("ResNet-50", "prism / raw", "", [0.97, 0.9, 0.96], at_least(0.95), "fine")
    assert cells(figure) == [
        *("ResNet-50", "prism / raw", "0.90", "0.96", "0.97", "≥ 0.95", "yes", "fine")
    ]


@pytest.mark.parametrize(
    ("target", "verdict"),
    [(at_least(2), "yes"), (at_least(2.1), "no"), (at_most(2), "yes"), (at_most(1.9), "no")],
)
def test_target_is_a_lower_or_upper_bound(target: Target, verdict: str) -> None:
    assert Figure("", "", "", [1, 2, 9], target).verdict == verdict


def test_verdict_is_empty_without_target_and_a_dash_without_value() -> None:
    assert Figure("", "", "", [1]).verdict == ""
    assert Figure("", "", "ms", [math.nan], at_most(50)).verdict == "—"


@pytest.mark.parametrize(
    ("value", "text"),
    [(4711.4, "4,711"), (47.11, "47.1"), (0.966, "0.97"), (math.nan, "—"), (math.inf, "∞")],
)
def test_numbers_have_three_significant_digits(value: float, text: str) -> None:
    assert format_number(value) == text


def test_update_document_replaces_text_between_markers(tmp_path: Path) -> None:
    document = tmp_path / "document.md"
    document.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n")
    for text in ("first", "second"):
        update_document(document, text)
    assert document.read_text() == f"before\n{BEGIN}\n\nsecond\n\n{END}\nafter\n"
    document.write_text("no markers")
    with pytest.raises(ValueError, match="markers"):
        update_document(document, "text")


def test_documentation_contains_the_markers() -> None:
    text = (ROOT / "docs" / "performance.md").read_text()
    assert text.index(BEGIN) < text.index(END)


def test_saved_results_replace_earlier_ones_of_the_same_scenario(tmp_path: Path) -> None:
    first = Result("b", 1, 2.0, "m", [Figure("B", "x", "ms", [1.0], at_most(2), "n")])
    second = Result("a", 3, 4.0, "m", [Figure("A", "y", "", [2.0, 3.0])])
    for result in (first, second, first):
        save(result, tmp_path)
    assert load(["a", "b", "absent"], tmp_path) == [second, first]


def test_report_separates_curves_processor_time_and_profile() -> None:
    point = CurvePoint("Curve", "prism", 0.8, [40.0], [1.0], [2.0], [3.0])
    figures = [Figure("A", "prism", "1/s", [5.0]), Figure("A", "prism", CPU_UNIT, [2.0, 4.0, 3.0])]
    result = Result("a", 3, 2.0, "machine", figures, [point], "c0ffee", ["slow (a.py)"])
    text = render_report([result], watts=5)
    assert "| A | prism, 1/s | 5.00 |" in text
    assert "| Curve | prism | 80% | 40.0 | 1.00 | 2.00 | 3.00 | 3.00–3.00 |" in text
    assert "| A | prism | 2.00 | 3.00 | 4.00 | 15.0 |  |" in text
    assert "slow (a.py)" in text
    assert "--only a --rounds 3 --seconds 2'  # c0ffee" in text


def test_saved_curves_are_restored(tmp_path: Path) -> None:
    point = CurvePoint("Curve", "prism", 0.5, [1.0], [1.0], [2.0], [3.0], 4)
    result = Result("a", 1, 1.0, "m", [], [point], "c0ffee", ["line"])
    save(result, tmp_path)
    assert load(["a"], tmp_path) == [result]
