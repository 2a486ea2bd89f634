"""The commands and the code of docs/evaluation.md run."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT

TEXT = (ROOT / "docs" / "evaluation.md").read_text()


def code_blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", TEXT, re.S)


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """Return a writable folder with links to everything that the commands read."""
    for name in ("backend", "calibration", "client", "evaluation", "frontend", "models"):
        (tmp_path / name).symlink_to(ROOT / name)
    return tmp_path


def test_commands_and_code_run(checkout: Path, backend_url: str) -> None:
    python = shlex.quote(sys.executable)
    for block in code_blocks("bash"):
        script = block.replace("http://localhost:8000", backend_url)
        command = "set -e\n" + script.replace(".venv/bin/python", python)
        done = subprocess.run(command, shell=True, cwd=checkout, capture_output=True, text=True)
        assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
    for folder in ("first", "second", "both/a", "both/b"):
        assert (checkout / folder / "report.html").is_file()
    for folder in ("both", "again"):
        assert (checkout / folder / "comparison.html").is_file()
    assert "100.00% of 5 images" in done.stdout
    (example,) = code_blocks("python")
    done = subprocess.run(
        [sys.executable, "-c", example], cwd=checkout, capture_output=True, text=True
    )
    assert done.stdout.splitlines() == ["1", "2", "3", "4", "5", "1.0"], done.stderr
    assert (checkout / "third" / "report.html").is_file()
