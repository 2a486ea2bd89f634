"""The simulation agrees with one and three backends whose service time is a sleep."""

import pytest

from benchmarks.load import validate_simulation


def validate(*arguments: str) -> None:
    code = validate_simulation.main([*arguments, "--rounds", "1"])
    if code == validate_simulation.TOO_BUSY:
        pytest.skip("Other programs use the processors, so that sleeps take too long.")
    assert code == 0


def test_simulation_agrees_with_backends() -> None:
    validate("--service-ms", "90", "--lognormal-ms", "160", "--deadline", "2.5")


def test_simulation_agrees_with_backends_that_run_several_batches() -> None:
    times = ["--service-ms", "150", "--lognormal-ms", "200", "--instances", "1"]
    validate(*times, "--runners", "2", "--max-batch", "3")
