import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from benchmarks.load import simulate
from benchmarks.load.simulated_instance import InstanceConfig, Request
from benchmarks.load.simulation import PlatformConfig, Simulation
from benchmarks.load.simulation_report import Cost, summarize
from tests.conftest import ROOT

SHORT = ["--rate", "20", "--seconds", "10", "--service-ms", "40"]


def run_json(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    assert simulate.main([*SHORT, *arguments, "--json"]) == 0
    result: dict[str, Any] = json.loads(capsys.readouterr().out)
    return result


def test_defaults_are_those_of_the_deployment() -> None:
    manifest = yaml.safe_load((ROOT / "deploy/backend.service.yaml").read_text())
    template = manifest["spec"]["template"]
    annotations, spec = template["metadata"]["annotations"], template["spec"]
    limits = spec["containers"][0]["resources"]["limits"]
    assert spec["containerConcurrency"] == simulate.CONCURRENCY
    assert int(annotations["autoscaling.knative.dev/maxScale"]) == simulate.MAX_INSTANCES
    assert limits == {"cpu": f"{simulate.CPUS:g}", "memory": f"{simulate.MEMORY_GIB * 1024:g}Mi"}


def test_same_seed_gives_the_same_figures(capsys: pytest.CaptureFixture[str]) -> None:
    first = run_json(capsys, "--instances", "1")
    assert run_json(capsys, "--instances", "1") == first
    assert run_json(capsys, "--instances", "1", "--seed", "1") != first


def test_json_contains_all_requests(capsys: pytest.CaptureFixture[str]) -> None:
    result = run_json(capsys, "--instances", "1", "--rate", "60", "--queue-size", "8")
    refused = sum(result["outcomes"].values())
    assert result["arrivals"] == result["served"] + refused + result["in_flight"]
    assert result["throughput"] == pytest.approx(25, rel=0.05)
    assert set(result["latency_ms"]) == {"mean", "p50", "p90", "p95", "p99"}
    assert len(result["samples"]) == 20


def test_overhead_is_added_to_the_latency(capsys: pytest.CaptureFixture[str]) -> None:
    without = run_json(capsys, "--instances", "1")["latency_ms"]["p50"]
    more = run_json(capsys, "--instances", "1", "--overhead-ms", "7")["latency_ms"]["p50"]
    assert more == pytest.approx(without + 7)


def test_table_contains_figures_and_samples(capsys: pytest.CaptureFixture[str]) -> None:
    assert simulate.main(SHORT) == 0
    text = capsys.readouterr().out
    assert "latency, ms" in text
    assert "per million served requests" in text
    assert len(text.splitlines()) == 7 + 20


def test_file_of_service_times_is_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "times.txt"
    path.write_text("30\n50, 40\n")
    arguments = ["--rate", "1", "--seconds", "5", "--service-file", str(path), "--json"]
    assert simulate.main(arguments) == 0
    assert json.loads(capsys.readouterr().out)["options"]["service_ms"] == [30, 50, 40]


def test_run_without_requests_has_no_latency(capsys: pytest.CaptureFixture[str]) -> None:
    result = run_json(capsys, "--rate", "0")
    assert (result["arrivals"], result["latency_ms"]["p50"]) == (0, None)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--rate", "fast"], "must be one or several numbers"),
        (["--service-file", "missing.txt"], "missing.txt cannot be read"),
        (["--service-ms", "0"], "mean service time must be above 0"),
        (["--runners", "1.5"], "not an integer of at least 1"),
        (["--batch-saving", "2"], "at least 0 and at most 1"),
        (["--min-instances", "9"], "--min-instances must not exceed --max-instances"),
        (["--concurrency", "0"], "the autoscaler needs --concurrency"),
        (["--target", "0"], "--target must be above 0"),
        (["--warm-up", "10"], "--warm-up must be shorter than --seconds"),
    ],
)
def test_invalid_option_is_refused(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    short = SHORT[:4] if "--service-file" in arguments else SHORT
    with pytest.raises(SystemExit) as error:
        simulate.parse([*short, *arguments])
    assert error.value.code == 2
    assert message in capsys.readouterr().err


def test_requests_of_the_warm_up_count_only_for_the_throughput() -> None:
    requests = [Request(0, 1.0), Request(2, 1.0), Request(5, 2.0), Request(9.5, 1.0)]
    run = Simulation(requests, 10, InstanceConfig(), PlatformConfig()).run()
    summary = summarize(run, warm_up=2.5)
    assert (summary.arrivals, summary.served, summary.in_flight) == (2, 1, 1)
    assert summary.throughput == pytest.approx(2 / 7.5)  # those that ended after it
    assert summary.latency_ms["mean"] == pytest.approx(2000)


def test_active_time_is_rounded_up_once_for_overlapping_intervals() -> None:
    requests = [Request(0, 0.01), Request(0.05, 0.01), Request(0.095, 0.01)]
    run = Simulation(requests, 10, InstanceConfig(), PlatformConfig()).run()
    assert run.instances[0].active_seconds == pytest.approx(0.2)


def test_cost_is_that_of_active_and_permanent_time() -> None:
    requests = [Request(0, 1.0), Request(5, 0.25)]
    run = Simulation(requests, 10, InstanceConfig(), PlatformConfig()).run()
    cost = Cost.of(run, permanent=1, cpus=2, memory_gib=1)
    assert cost.active_seconds == pytest.approx(1.3)  # in steps of 0.1 s
    assert cost.idle_seconds == pytest.approx(8.7)
    expected = 1.3 * (2 * 0.000024 + 0.0000025) + 8.7 * 3 * 0.0000025 + 2 * 0.4e-6
    assert cost.total == pytest.approx(expected)
    assert cost.per_hour == pytest.approx(360 * expected)
    assert cost.per_million == pytest.approx(expected / 2 * 1e6)
