"""A short form of `make fuzz`: every target, a minute in total."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.fuzz.targets import TARGETS
from tests.fuzz.worker import MIN_INPUTS


def test_a_minute_of_fuzzing_finds_nothing(tmp_path: Path) -> None:
    options = ["--minutes", "1", "--fuzzer", "mutants", "--folder", str(tmp_path)]
    command = [sys.executable, "-m", "tests.fuzz", *options]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert result.returncode == 0, result.stdout + result.stderr
    state = json.loads((tmp_path / "state.json").read_text())
    assert set(state) == set(TARGETS)
    assert all(target["next"] > MIN_INPUTS for target in state.values())


def test_guided_fuzzer_keeps_inputs_that_reach_new_code(tmp_path: Path) -> None:
    pytest.importorskip("atheris", reason="atheris has no build for this Python")
    options = ["--minutes", "0.3", "--fuzzer", "guided", "--targets", "forms"]
    command = [sys.executable, "-m", "tests.fuzz", *options, "--folder", str(tmp_path)]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert result.returncode == 0, result.stdout + result.stderr
    samples = len(TARGETS["forms"].samples())
    assert len(list((tmp_path / "corpus" / "forms").iterdir())) > samples
