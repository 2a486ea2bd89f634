"""What docs/evaluation.md tells people to type, typed."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from evaluation.cli import _parser
from tests.conftest import ROOT

TEXT = (ROOT / "docs" / "evaluation.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", TEXT, re.S)


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A copy of what the commands read, that they may write into."""
    for name in ("backend", "client", "evaluation", "frontend", "models"):
        (tmp_path / name).symlink_to(ROOT / name)
    return tmp_path


def test_every_command_does_what_it_says(checkout: Path, backend_url: str) -> None:
    python = shlex.quote(sys.executable)
    for block in blocks("bash"):
        here = block.replace("http://localhost:8000", backend_url)
        command = "set -e\n" + here.replace(".venv/bin/python", python)
        done = subprocess.run(command, shell=True, cwd=checkout, capture_output=True, text=True)
        assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
    for folder in ("first", "second", "both/a", "both/b"):
        assert (checkout / folder / "report.html").is_file()
    for folder in ("both", "again"):
        assert (checkout / folder / "comparison.html").is_file()
    assert "100.00% of 5 pictures" in done.stdout
    (example,) = blocks("python")
    done = subprocess.run(
        [sys.executable, "-c", example], cwd=checkout, capture_output=True, text=True
    )
    assert done.stdout.splitlines() == ["1", "2", "3", "4", "5", "1.0"], done.stderr
    assert (checkout / "third" / "report.html").is_file()


def test_every_option_is_told() -> None:
    options = {option for action in _parser()._actions for option in action.option_strings}
    told = set(re.findall(r"--[a-z][a-z-]+", TEXT))
    assert options - {"-h", "--help"} == told
