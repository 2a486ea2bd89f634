"""What a scenario makes of what was measured, with the servers left out."""

from pathlib import Path

import pytest

from benchmarks.serving import __main__ as command
from benchmarks.serving import throughput
from benchmarks.serving.load_generator import Latency, Outcome
from benchmarks.serving.measurement import Options
from benchmarks.serving.metrics import Figure, at_least
from benchmarks.serving.raw_limit import Limit
from benchmarks.serving.scenarios import SCENARIOS
from benchmarks.serving.systems import BENTOML_ONNX, LITSERVE, PRISM, TUTORIAL, Contender
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

    def measured(self: Throughput, one: Contender, options: Options) -> Outcome:
        return outcome(next(rounds[one.name]))

    monkeypatch.setattr(throughput.Throughput, "_outcome", measured)
    monkeypatch.setattr(
        throughput.Throughput, "_limit", lambda *_: Limit({"runners": 40.0, "other": 1.0}, 9.0)
    )
    monkeypatch.setattr(Contender, "installed", True)
    scenario = Throughput(
        name="any",
        title="any",
        model="resnet50",
        kind="photo",
        systems=(PRISM, TUTORIAL, LITSERVE, BENTOML_ONNX),
        raw=True,
        targets={"raw": at_least(0.9), "torch": None, "onnx": None, "peer": None, "noop": None},
    )
    found = scenario.run(Options(rounds=3), lambda text: None)
    return {figure.what: figure for figure in found}


def test_prism_is_compared_with_the_best_of_each_kind_round_by_round(
    figures: dict[str, Figure],
) -> None:
    assert figures["prism / raw"].values == [0.5, 0.25, 0.75]
    assert figures["prism / best torch peer"].values == [4, 2, 3]
    assert figures["prism / best onnx peer"].values == [2, 2, 3]
    assert figures["prism / best peer"].values == [2, 2, 3]


def test_who_did_not_take_part_is_not_compared_with(figures: dict[str, Figure]) -> None:
    assert not any("noop" in what for what in figures)


def test_the_table_says_which_arrangement_won_and_what_went_wrong(
    figures: dict[str, Figure],
) -> None:
    assert figures["raw"].note == "runners"
    assert "3 × 429" in figures["prism"].note
    assert "generator 0.10 ms/request" in figures["prism"].note


def test_a_name_that_nobody_has_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        command.main(["--only", "nonsense"])
    assert "'nonsense' is none of resnet50" in capsys.readouterr().err


def test_the_documentation_explains_every_scenario() -> None:
    text = (Path(__file__).parents[3] / "docs" / "performance.md").read_text()
    for scenario in SCENARIOS:
        assert f"| `{scenario.name}` |" in text
