"""Servers under test: started, ready, weighed, stopped."""

import os
import sys
from pathlib import Path

import pytest

from benchmarks.serving import servers
from benchmarks.serving.memory import members, proportional_megabytes
from benchmarks.serving.systems import ALL, NOOP, PRISM, Contender

ROOT = Path(__file__).parents[3]
SHIPPED = ROOT / "models" / "mnist-cnn"
SEVEN = ROOT / "frontend" / "examples" / "seven.png"


@pytest.fixture(autouse=True)
def _logs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(servers, "LOGS", tmp_path)


@pytest.mark.parametrize("contender", [PRISM, NOOP], ids=lambda one: one.name)
def test_a_server_answers_is_weighed_and_leaves_nothing_behind(contender: Contender) -> None:
    with servers.serve(contender, SHIPPED, SEVEN) as server:
        assert server.started > 0
        assert server.pid in members(server.pid)
        if sys.platform == "linux":
            assert 1 < proportional_megabytes(server.pid) < 10_000
    assert not members(server.pid)


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="no affinity on this system")
def test_a_server_stays_on_its_core_and_we_on_ours() -> None:
    before = os.sched_getaffinity(0)
    core = min(before)
    with servers.serve(NOOP, SHIPPED, SEVEN, cpus=[core]) as server:
        assert os.sched_getaffinity(server.pid) == {core}
        assert os.sched_getaffinity(0) == before


def test_a_server_that_does_not_start_is_an_error_that_names_its_log() -> None:
    broken = Contender("broken", "none", ("-c", "raise SystemExit(3)"))
    with pytest.raises(servers.ServerError, match=r"broken-mnist-cnn\.log"):  # noqa: SIM117
        with servers.serve(broken, SHIPPED, SEVEN):
            pass


def test_each_contender_has_a_name_of_its_own() -> None:
    assert len({one.name for one in ALL}) == len(ALL)
