"""The simulation agrees with one and three backends whose service time is a sleep."""

import pytest

from benchmarks.load import validate_simulation


def test_simulation_agrees_with_backends(capsys: pytest.CaptureFixture[str]) -> None:
    times = ["--service-ms", "90", "--lognormal-ms", "160", "--deadline", "2.5"]
    code = validate_simulation.main([*times, "--rounds", "3", "--warm-up", "10"])
    assert code == 0, capsys.readouterr().out


def test_simulation_agrees_with_backends_that_run_several_images(
    capsys: pytest.CaptureFixture[str],
) -> None:
    times = ["--service-ms", "150", "--lognormal-ms", "200", "--instances", "1"]
    code = validate_simulation.main([*times, "--runners", "2", "--max-batch", "3"])
    assert code == 0, capsys.readouterr().out
