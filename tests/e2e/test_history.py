"""The history of a running backend: killed, cut off from its database, out of space."""

import os
import sqlite3
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.e2e import kills
from tests.e2e.backend import Backend
from tests.e2e.rounds import DIGIT
from tests.history.postgres import Postgres, running

WAIT = 60


@pytest.fixture
def postgres() -> Iterator[Postgres]:
    with running() as server:
        yield server


def classify(backend: Backend) -> dict[str, Any]:
    """An answer, which comes whatever the database does."""
    answer = httpx.post(f"{backend.url}/classify", files={"file": DIGIT}, timeout=WAIT)
    assert answer.status_code == 200
    found: dict[str, Any] = answer.json()
    return found


def classify_until(backend: Backend, stored: bool) -> dict[str, Any]:
    """Ask until an answer is stored, or is not."""
    end = time.monotonic() + WAIT
    while (answer := classify(backend))["stored"] is not stored:
        assert time.monotonic() < end, answer
        time.sleep(0.01)
    return answer


@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
def test_kill_9_loses_and_doubles_no_stored_answer(
    database: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    environ = {"PRISM_DATA_DIR": str(tmp_path)}
    if database == "postgresql":
        environ["PRISM_DATABASE_URL"] = request.getfixturevalue("postgres").url()
    answers = kills.Answers()
    for _ in range(int(os.environ.get("PRISM_KILL_ROUNDS", "5"))):
        kills.one_round(answers, **environ)
    found = kills.found(**environ)
    assert set(answers.stored) <= set(found)
    assert set(found.values()) == {1}
    assert len(set(answers.stored)) == len(answers.stored)


def test_kill_9_of_postgresql_loses_and_doubles_no_stored_answer(
    postgres: Postgres, tmp_path: Path
) -> None:
    environ = {"PRISM_DATA_DIR": str(tmp_path), "PRISM_DATABASE_URL": postgres.url()}
    answers = kills.Answers()
    rounds = int(os.environ.get("PRISM_KILL_ROUNDS", "3"))
    kills.database_rounds(answers, postgres, rounds, **environ)
    found = kills.found(**environ)
    assert set(answers.stored) <= set(found)
    assert set(found.values()) == {1}


def test_answers_flow_while_postgresql_is_away_and_are_stored_once_it_is_back(
    postgres: Postgres, tmp_path: Path
) -> None:
    with Backend(
        PRISM_DATABASE_URL=postgres.url(),
        PRISM_HISTORY_OPEN="true",
        WEB_CONCURRENCY="2",
        PRISM_DATA_DIR=str(tmp_path / "data"),
    ) as backend:
        backend.wait_until_ready()
        before = classify_until(backend, stored=True)
        postgres.stop()
        try:
            for _ in range(10):
                classify_until(backend, stored=False)
            away = backend.get("/history")
            assert (away.status_code, away.json()["code"]) == (503, "history_unavailable")
        finally:
            postgres.start()
        after = classify_until(backend, stored=True)
        for one in (before, after):
            assert backend.get(f"/history/{one['id']}").status_code == 200


def test_a_database_that_is_away_at_the_start_is_found_later(
    postgres: Postgres, tmp_path: Path
) -> None:
    postgres.stop()
    log = tmp_path / "log"
    url = postgres.url().replace("prism@", "prism:secret@")
    with Backend(log, PRISM_DATABASE_URL=url, PRISM_DATA_DIR=str(tmp_path / "data")) as backend:
        backend.wait_until_ready()
        assert classify(backend)["stored"] is False
        postgres.start()
        classify_until(backend, stored=True)
    assert "secret" not in log.read_text()


def test_a_locked_file_holds_nobody_up(tmp_path: Path) -> None:
    with Backend(PRISM_DATA_DIR=str(tmp_path), PRISM_HISTORY_OPEN="true") as backend:
        backend.wait_until_ready()
        classify_until(backend, stored=True)
        other = sqlite3.connect(tmp_path / "history.db", isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        assert classify(backend)["stored"] is False
        assert backend.get("/history").status_code == 200
        other.close()
        classify_until(backend, stored=True)


@pytest.mark.skipif(sys.platform != "linux", reason="limits another process's files")
def test_a_full_disk_holds_nobody_up(tmp_path: Path) -> None:
    import resource

    with Backend(tmp_path / "log", PRISM_DATA_DIR=str(tmp_path / "data")) as backend:
        backend.wait_until_ready()
        classify_until(backend, stored=True)
        pid = backend.process.pid
        _, hard = limit = resource.prlimit(pid, resource.RLIMIT_FSIZE)
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (1000, hard))
        assert classify(backend)["stored"] is False
        resource.prlimit(pid, resource.RLIMIT_FSIZE, limit)
        classify_until(backend, stored=True)
