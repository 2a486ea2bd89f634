"""Tests of the figures of a scenario, with simulated measurements."""

from pathlib import Path

import pytest

from benchmarks.serving import __main__ as command
from benchmarks.serving.load_generator import Latency, Outcome
from benchmarks.serving.measurement import Options
from benchmarks.serving.raw_limit import RawLimit
from benchmarks.serving.results import Figure, at_least
from benchmarks.serving.scenarios import SCENARIOS
from benchmarks.serving.systems import BENTOML_ONNX, LITSERVE, PRISM, TUTORIAL, System
from benchmarks.serving.throughput import Throughput

RATES = {
    "prism": [20.0, 10.0, 30.0],
    "tutorial": [5.0, 2.0, 5.0],
    "litserve": [4.0, 5.0, 10.0],
    "bentoml-onnx": [10.0, 5.0, 10.0],
}


def outcome(rate: float) -> Outcome:
    return Outcome(rate, rate, Latency(1, 2), Latency(1, 2), {"200": 9, "429": 1}, cpu_ms=0.1)


@pytest.fixture
def figures(monkeypatch: pytest.MonkeyPatch) -> dict[str, Figure]:
    rounds = {name: iter(rates) for name, rates in RATES.items()}

    def measure(self: Throughput, system: System, options: Options) -> Outcome:
        return outcome(next(rounds[system.name]))

    monkeypatch.setattr(Throughput, "_measure_system", measure)
    monkeypatch.setattr(
        Throughput, "_measure_limit", lambda *_: RawLimit({"runners": 40.0, "other": 1.0}, 9.0)
    )
    monkeypatch.setattr(System, "is_installed", True)
    scenario = Throughput(
        name="any",
        title="any",
        model="resnet50",
        kind="photo",
        systems=(PRISM, TUTORIAL, LITSERVE, BENTOML_ONNX),
        has_raw_limit=True,
        targets={"raw": at_least(0.9), "torch": None, "onnx": None, "peer": None, "noop": None},
    )
    return {figure.label: figure for figure in scenario.run(Options(rounds=3), lambda text: None)}


def test_ratios_use_the_best_peer_of_each_round(
    figures: dict[str, Figure],
) -> None:
    assert figures["prism / raw"].values == [0.5, 0.25, 0.75]
    assert figures["prism / best torch peer"].values == [4, 2, 3]
    assert figures["prism / best onnx peer"].values == [2, 2, 3]
    assert figures["prism / best peer"].values == [2, 2, 3]


def test_unmeasured_system_is_not_compared(figures: dict[str, Figure]) -> None:
    assert not any("noop" in label for label in figures)


def test_notes_contain_fastest_arrangement_and_failures(
    figures: dict[str, Figure],
) -> None:
    assert figures["raw"].note == "runners"
    assert "3 × 429" in figures["prism"].note
    assert "generator 0.10 ms/request" in figures["prism"].note


def test_unknown_scenario_is_rejected(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        command.main(["--only", "nonsense"])
    assert "'nonsense' is not one of resnet50" in capsys.readouterr().err


def test_documentation_lists_every_scenario() -> None:
    text = (Path(__file__).parents[3] / "docs" / "performance.md").read_text()
    for scenario in SCENARIOS:
        assert f"| `{scenario.name}` |" in text
