"""What is said of images that cannot be tried, with engines that only pretend."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from deploy import containers
from deploy.containers import Engine
from deploy.images import BACKEND, FRONTEND, ROOT, Part


def engine(folder: Path, script: str) -> str:
    """Write a program that acts as an engine; its path."""
    path = folder / "engine"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return str(path)


def test_an_image_that_is_too_large_is_a_failure(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = containers.main(["--built", "--engine", engine(tmp_path, "echo 400000000")])
    assert found == 1
    assert "prism-backend has 400 MB; 380 are allowed" in capsys.readouterr().out


def test_what_the_engine_says_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    script = engine(tmp_path, "echo no space left >&2; exit 125")
    assert containers.main(["--engine", script]) == 1
    said = capsys.readouterr().out
    assert "build -f backend.dockerfile" in said
    assert "no space left" in said


def test_an_engine_that_is_not_there_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert containers.main(["--engine", "/no/such/engine"]) == 1
    assert "FAILED" in capsys.readouterr().out


def test_what_was_started_is_removed_after_a_failure(tmp_path: Path) -> None:
    log = tmp_path / "log"
    script = f'echo "$@" >> {log}; [ "$1" = image ] && echo 1000; [ "$1" != run ]'
    assert containers.main(["--built", "--engine", engine(tmp_path, script)]) == 1
    last = log.read_text().splitlines()[-2:]
    assert last == ["rm -f prism-frontend-trial", "rm -f prism-backend-trial"]


def test_both_listen_where_port_says_and_not_where_their_images_do(tmp_path: Path) -> None:
    log = tmp_path / "log"
    script = f'echo "$@" >> {log}; [ "$1" = image ] && echo 1000; [ "$1" != run ]'
    containers.main(["--built", "--engine", engine(tmp_path, script)])
    (run,) = (line for line in log.read_text().splitlines() if line.startswith("run "))
    assert f":{BACKEND.port} " in run
    assert f" PORT={BACKEND.port} " in run
    for part in (BACKEND, FRONTEND):
        assert f"EXPOSE {part.port}\n" not in (ROOT / part.dockerfile).read_text()


@pytest.mark.parametrize("part", [BACKEND, FRONTEND])
def test_an_image_that_does_not_find_itself_healthy_is_a_failure(
    part: Part,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    @contextmanager
    def running(_: Engine) -> Iterator[tuple[str, str]]:
        yield "http://127.0.0.1:1", "http://127.0.0.1:1"

    monkeypatch.setattr(containers, "_running", running)
    script = f'[ "$1" = image ] && echo 1000; [ "$1 $2" != "exec {part.container}" ]'
    assert containers.main(["--built", "--engine", engine(tmp_path, script)]) == 1
    assert f"exec {part.container} python -c" in capsys.readouterr().out
