"""Tests of the figures of a scenario, with simulated measurements."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from benchmarks.serving import __main__ as command
from benchmarks.serving.comparison import Comparison
from benchmarks.serving.load_generator import Latency, Outcome
from benchmarks.serving.measurement import Options
from benchmarks.serving.raw_limit import RawLimit
from benchmarks.serving.results import CPU_UNIT, Figure, at_least
from benchmarks.serving.scenarios import SCENARIOS
from benchmarks.serving.servers import ServerError
from benchmarks.serving.systems import BENTOML_ONNX, LITSERVE, PRISM, TUTORIAL, System
from benchmarks.serving.throughput import Row, Run, Throughput

RATES = {
    "prism": [20.0, 10.0, 30.0],
    "tutorial": [5.0, 2.0, 5.0],
    "litserve": [4.0, 5.0, 10.0],
    "bentoml-onnx": [10.0, 5.0, 10.0],
}
COMPARISONS = tuple(Comparison(to) for to in ("torch", "onnx", "peer", "noop"))
SCENARIO = Throughput(
    name="any",
    model="resnet50",
    rows=(
        Row("photo", "photo", (Comparison("raw", at_least(0.9)), *COMPARISONS)),
        Row("large", "large", COMPARISONS, frozenset({"prism", "tutorial"})),
    ),
    systems=(PRISM, TUTORIAL, LITSERVE, BENTOML_ONNX),
    has_raw_limit=True,
)


def outcome(rate: float) -> Outcome:
    latency = Latency(1, 2, 3)
    return Outcome(rate, rate, latency, latency, {"200": 9, "429": 1}, cpu_ms=0.1, total=9)


class Measurements:
    """Simulated measurements: RATES in turn; the systems in `broken` fail."""

    def __init__(self) -> None:
        self.broken: set[str] = set()
        self.order: list[str] = []
        self.rates = {name: iter(rates) for name, rates in RATES.items()}

    def measure(self, system: System, rows: Sequence[Row], options: Options) -> list[Run]:
        self.order.append(system.name)
        if system.name in self.broken:
            raise ServerError("it ended")
        rate = next(self.rates[system.name])
        return [Run(outcome(rate), cpu=1.5, energy=2.5) for _ in rows]


@pytest.fixture
def measurements(monkeypatch: pytest.MonkeyPatch) -> Measurements:
    simulated = Measurements()
    monkeypatch.setattr(
        Throughput, "_measure_system", lambda _, *arguments: simulated.measure(*arguments)
    )
    limit = RawLimit({"runners": 40.0, "other": 1.0}, 9.0)
    monkeypatch.setattr(Throughput, "_measure_limit", lambda *_: limit)
    monkeypatch.setattr(System, "is_installed", True)
    return simulated


def run(title: str = "photo") -> dict[str, Figure]:
    """Return the figures of one row by label, without the processor time."""
    measured = SCENARIO.run(Options(rounds=3), lambda text: None)
    return {
        one.label: one for one in measured.figures if one.scenario == title and one.unit != CPU_UNIT
    }


@pytest.mark.usefixtures("measurements")
def test_ratios_use_the_best_peer_of_each_round() -> None:
    figures = run()
    assert figures["prism / raw"].values == [0.5, 0.25, 0.75]
    assert figures["prism / best torch peer"].values == [4, 2, 3]
    assert figures["prism / best onnx peer"].values == [2, 2, 3]
    assert figures["prism / best peer"].values == [2, 2, 3]


@pytest.mark.usefixtures("measurements")
def test_row_is_compared_with_its_own_systems_only() -> None:
    figures = run("large")
    assert figures["prism / best peer"].values == [4, 5, 6]
    assert "litserve" not in figures
    assert not any("onnx" in label or "noop" in label for label in figures)


def test_failed_peer_is_left_out(measurements: Measurements) -> None:
    measurements.broken = {"bentoml-onnx"}
    figures = run()
    assert measurements.order.count("bentoml-onnx") == 2
    assert (figures["bentoml-onnx"].values, figures["bentoml-onnx"].note) == ([], "failed")
    assert figures["prism / best peer"].values == [4, 2, 3]
    assert "prism / best onnx peer" not in figures


def test_failure_of_prism_ends_the_scenario(measurements: Measurements) -> None:
    measurements.broken = {"prism"}
    with pytest.raises(ServerError, match="it ended"):
        run()


def test_order_of_the_systems_rotates(measurements: Measurements) -> None:
    run()
    names = ["prism", "tutorial", "litserve", "bentoml-onnx"]
    assert measurements.order[4:8] == [*names[1:], "prism"]


@pytest.mark.usefixtures("measurements")
def test_notes_contain_fastest_arrangement_and_failures() -> None:
    figures = run()
    assert figures["raw"].note == "runners"
    assert "3 × 429" in figures["prism"].note
    assert "generator 0.10 ms/request" in figures["prism"].note


@pytest.mark.usefixtures("measurements")
def test_processor_time_is_reported_for_each_system() -> None:
    measured = SCENARIO.run(Options(rounds=3), lambda text: None)
    times = [one for one in measured.figures if one.unit == CPU_UNIT and one.scenario == "photo"]
    assert {one.label for one in times} == set(RATES)
    assert times[0].values == [1.5, 1.5, 1.5]
    assert times[0].note == "2.5 J measured for the whole machine"


@pytest.mark.parametrize(("metric", "best"), [("rate", [5.0, 4.0]), ("latency", [2.0, 3.0])])
def test_best_latency_is_the_least(metric: str, best: list[float]) -> None:
    values = {"prism": [1.0, 1.0], "tutorial": [2.0, 4.0], "litserve": [5.0, 3.0]}
    figure = Comparison("torch").figure("", metric, (TUTORIAL, LITSERVE), values)  # type: ignore[arg-type]
    assert figure
    assert figure.values == [1 / value for value in best]


def test_unknown_scenario_is_rejected(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        command.main(["--only", "nonsense"])
    assert "'nonsense' is not one of digits" in capsys.readouterr().err


def test_documentation_lists_every_scenario() -> None:
    text = (Path(__file__).parents[3] / "docs" / "performance.md").read_text()
    for scenario in SCENARIOS:
        assert f"| `{scenario.name}` |" in text
