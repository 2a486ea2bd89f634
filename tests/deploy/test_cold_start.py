"""The measurement of cold starts, with scripts that stand in for the container engine."""

from pathlib import Path
from urllib.parse import urlsplit

import pytest

from deploy import cold_start
from tests.client.fake_server import FakeResponse, serving
from tests.deploy.test_containers import engine


def test_medians_of_all_starts_are_printed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    log = tmp_path / "log"
    script = engine(tmp_path, f'echo "$@" >> {log}; echo 0.75')
    with serving(FakeResponse()) as (url, asked):
        monkeypatch.setattr(cold_start, "free_port", lambda: urlsplit(url).port)
        assert cold_start.main(["--engine", script, "--cpus", "2", "--rounds", "2"]) == 0
    once = ["/health", "/classify", "/ready", "/classify", "/classify"]
    assert [one.path for one in asked] == 2 * once
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("prism-backend, 2 CPUs, median of 2 starts")
    assert lines[5].split() == ["processor", "until", "/ready", "0.75"]
    commands = [line.split()[0] for line in log.read_text().splitlines()]
    assert commands == 2 * ["rm", "run", "exec", "rm"]


def test_error_of_the_engine_is_printed_and_the_container_removed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log = tmp_path / "log"
    script = engine(
        tmp_path, f'echo "$@" >> {log}; [ "$1" = rm ] || {{ echo no image >&2; false; }}'
    )
    assert cold_start.main(["--engine", script]) == 1
    assert "no image" in capsys.readouterr().out
    assert log.read_text().splitlines()[-1] == "rm -f prism-cold-start"
