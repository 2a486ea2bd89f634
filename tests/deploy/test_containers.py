"""The container trial, with scripts that stand in for the container engine."""

from pathlib import Path

import pytest

from deploy import containers


def engine(folder: Path, script: str) -> str:
    """Write an executable that acts as the engine; return its path."""
    path = folder / "engine"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return str(path)


def test_image_above_the_size_limit_fails(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert containers.main(["--built", "--engine", engine(tmp_path, "echo 425000000")]) == 1
    assert "prism-backend has 425 MB; 420 are allowed" in capsys.readouterr().out


def test_engine_errors_are_printed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    script = engine(tmp_path, "echo no space left >&2; exit 125")
    assert containers.main(["--engine", script]) == 1
    output = capsys.readouterr().out
    assert "build -f backend.dockerfile" in output
    assert "no space left" in output


def test_missing_engine_fails(capsys: pytest.CaptureFixture[str]) -> None:
    assert containers.main(["--engine", "/no/such/engine"]) == 1
    assert "FAILED" in capsys.readouterr().out


def test_containers_are_removed_after_a_failure(tmp_path: Path) -> None:
    log = tmp_path / "log"
    script = f'echo "$@" >> {log}; [ "$1" = image ] && echo 1000; [ "$1" != run ]'
    assert containers.main(["--built", "--engine", engine(tmp_path, script)]) == 1
    removed = [line for line in log.read_text().splitlines() if line.startswith("rm -f ")]
    assert removed[-2:] == ["rm -f prism-frontend-trial", "rm -f prism-backend-trial"]
