"""Tests of the command with simulated scenarios."""

from pathlib import Path

import pytest

from benchmarks.serving import __main__ as command
from benchmarks.serving import servers
from benchmarks.serving.measurement import Log, Options
from benchmarks.serving.report import BEGIN, END
from benchmarks.serving.results import CurvePoint, Figure, Measured, Target, at_least, load


class Simulated:
    """A scenario whose ratio to its target is fixed; it raises `error` if that is set."""

    def __init__(self, name: str, target: Target) -> None:
        self.name, self.target = name, target
        self.error: Exception | None = None
        self.runs = 0

    def run(self, options: Options, log: Log) -> Measured:
        self.runs += 1
        if self.error:
            raise self.error
        point = CurvePoint("Curve", "prism", 0.5, [10.0], [1.0], [2.0], [3.0])
        return Measured([Figure(self.name, "prism / peer", "", [2.0], self.target)], [point])


@pytest.fixture
def scenarios(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Simulated]:
    simulated = [Simulated("one", at_least(1)), Simulated("two", at_least(3))]
    document = tmp_path / "performance.md"
    document.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n")
    monkeypatch.setattr(command, "_DOCUMENT", document)
    monkeypatch.setattr(command, "_CHARTS", tmp_path / "images")
    monkeypatch.setattr(command, "RESULTS", tmp_path / "results")
    monkeypatch.setattr(command, "SCENARIOS", simulated)
    monkeypatch.setattr(command, "_BY_NAME", {one.name: one for one in simulated})
    monkeypatch.setattr(servers, "delete_prism_data", lambda: None)
    return simulated


def test_failed_scenario_does_not_stop_the_others(
    scenarios: list[Simulated], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("matplotlib")
    scenarios[0].error = RuntimeError("a broken package")
    assert command.main(["--write"]) == 1
    assert "one failed: a broken package" in capsys.readouterr().err
    assert [one.scenario for one in load(["one", "two"], tmp_path / "results")] == ["two"]


def test_document_keeps_figures_of_other_scenarios(
    scenarios: list[Simulated], tmp_path: Path
) -> None:
    pytest.importorskip("matplotlib")
    assert command.main(["--write", "--only", "one"]) == 0
    assert command.main(["--write", "--only", "two"]) == 0
    text = (tmp_path / "performance.md").read_text()
    assert "| one | prism / peer | 2.00 | 2.00 | 2.00 | ≥ 1 | yes |" in text
    assert "| two | prism / peer | 2.00 | 2.00 | 2.00 | ≥ 3 | no |" in text
    assert "![performance ratios](images/performance-ratios.svg)" in text
    for name in ("ratios", "latency"):
        assert "<svg" in (tmp_path / "images" / f"performance-{name}.svg").read_text()


def test_resumed_run_leaves_out_finished_scenarios(scenarios: list[Simulated]) -> None:
    pytest.importorskip("matplotlib")
    command.main(["--write", "--only", "one"])
    command.main(["--write", "--resume"])
    assert [one.runs for one in scenarios] == [1, 1]
    command.main(["--write", "--resume", "--seconds", "9"])
    assert [one.runs for one in scenarios] == [2, 2]


def test_figures_are_not_stored_without_write(scenarios: list[Simulated], tmp_path: Path) -> None:
    assert command.main([]) == 0
    assert not (tmp_path / "results").exists()
    assert "old" in (tmp_path / "performance.md").read_text()


def test_help_lists_the_options(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        command.main(["--help"])
    assert end.value.code == 0
    assert "--against REVISION" in capsys.readouterr().out
