"""A short form of `make fuzz`: every target, a minute in total."""

import json
import subprocess
import sys
from pathlib import Path

from tests.conftest import ROOT
from tests.fuzz.targets import TARGETS


def test_a_minute_of_fuzzing_finds_nothing(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.fuzz", "--minutes", "1", "--folder", str(tmp_path)]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert result.returncode == 0, result.stdout + result.stderr
    state = json.loads((tmp_path / "state.json").read_text())
    assert set(state) == set(TARGETS)
    assert all(target["next"] > 100 for target in state.values())
