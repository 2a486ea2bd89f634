"""Tests of the comparison with another revision."""

import math
from pathlib import Path

import pytest

from benchmarks.serving import against
from benchmarks.serving.against import Change, RevisionError, checkout, pair, render
from benchmarks.serving.results import Figure
from benchmarks.serving.scenarios import SCENARIOS, with_systems
from benchmarks.serving.systems import PRISM


@pytest.mark.parametrize(
    ("unit", "new", "old", "verdict"),
    [
        ("1/s", [80, 82, 84], [100, 101, 102], "regression"),
        ("1/s", [100, 101, 102], [80, 82, 84], "improvement"),
        ("ms", [100, 101, 102], [80, 82, 84], "regression"),
        ("s", [0.5, 0.5, 0.5], [1, 1, 1], "improvement"),
        ("ms", [math.nan], [1.0], "not measured"),
        ("1/s", [97, 97, 98], [100, 101, 102], "no change"),  # within the tolerance
        ("1/s", [60, 80, 105], [100, 101, 102], "no change"),  # the rounds overlap
    ],
)
def test_change_counts_if_it_is_large_and_the_rounds_are_separate(
    unit: str, new: list[float], old: list[float], verdict: str
) -> None:
    assert Change("", unit, new, old).verdict == verdict


def test_figures_are_paired_by_scenario_unit_and_label() -> None:
    figures = [
        Figure("A", "prism", "1/s", [2.0]),
        Figure("A", "prism@abc", "1/s", [1.0]),
        Figure("B", "prism", "s", [3.0]),
        Figure("B", "prism, memory", "MB", [5.0]),
        Figure("B", "prism@abc, memory", "MB", [4.0]),
    ]
    assert pair(figures, "prism@abc") == [
        Change("A", "1/s", [2.0], [1.0]),
        Change("B, memory", "MB", [5.0], [4.0]),
    ]


def test_table_shows_ratios_and_verdict() -> None:
    text = render([Change("A", "1/s", [80.0, 82.0], [100.0, 100.0])], "main")
    assert "| A | 1/s | 100 | 81 | 0.80 | 0.81 | 0.82 | regression |" in text


def test_default_scenarios_can_be_compared() -> None:
    scenarios = {one.name: one for one in SCENARIOS}
    for name in against.DEFAULT:
        assert with_systems(scenarios[name], (PRISM,)) is not None


def test_unknown_revision_is_an_error() -> None:
    with pytest.raises(RevisionError, match="no-such-revision"):  # noqa: SIM117
        with checkout("no-such-revision"):
            pass


def test_checkout_serves_its_own_code_and_models(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(against, "CACHE", tmp_path)
    calls: list[tuple[str, ...]] = []

    def git(*arguments: str) -> str:
        calls.append(arguments)
        return "0123456789abcdef"

    monkeypatch.setattr(against, "_git", git)
    with checkout("main") as base:
        environment = base.environment(PRISM.root / "models" / "photos", 1)
        folder = tmp_path / "worktrees" / "0123456789"
        assert base.root == folder
        assert environment["PYTHONPATH"] == str(folder)
        assert environment["PRISM_MODELS_DIR"] == str(folder / "models")
        assert environment["PRISM_DATA_DIR"].endswith("prism@0123456789")
    assert calls[-1] == ("worktree", "remove", "--force", str(folder))
