"""Every target accepts its samples, and no mutant of a small number is a finding."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import FUZZ_FACTOR
from tests.fuzz.targets import TARGETS, stop
from tests.fuzz.worker import Runner

MUTANTS = 40 * FUZZ_FACTOR


@pytest.fixture(scope="module", autouse=True)
def _servers() -> Iterator[None]:
    yield
    stop()


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", TARGETS)
def test_target_has_no_finding(name: str, tmp_path: Path) -> None:
    target = TARGETS[name]
    runner = Runner(target, tmp_path / "input")
    findings = list(runner.run(target.samples(), 1, count=MUTANTS))
    assert not findings, findings[0]["text"]
    assert runner.summary["accepted"] > 0
