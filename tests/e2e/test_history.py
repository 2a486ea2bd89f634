"""The history of a backend that is killed, loses its database, or runs out of space."""

import os
import sqlite3
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.e2e import kill_loop
from tests.e2e.backend_process import BackendProcess
from tests.e2e.drain_loop import DIGIT_PNG
from tests.history.postgres import Postgres, running

WAIT = 60


@pytest.fixture
def postgres() -> Iterator[Postgres]:
    with running() as server:
        yield server


def classify(backend: BackendProcess) -> dict[str, Any]:
    """Return a classification; the request succeeds in any state of the database."""
    response = httpx.post(f"{backend.url}/classify", files={"file": DIGIT_PNG}, timeout=WAIT)
    assert response.status_code == 200
    classification: dict[str, Any] = response.json()
    return classification


def classify_until(backend: BackendProcess, stored: bool) -> dict[str, Any]:
    """Send requests until a classification is `stored`, or not."""
    end = time.monotonic() + WAIT
    while (classification := classify(backend))["stored"] is not stored:
        assert time.monotonic() < end, classification
        time.sleep(0.01)
    return classification


@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
def test_sigkill_loses_and_duplicates_nothing(
    database: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    environ = {"PRISM_DATA_DIR": str(tmp_path)}
    if database == "postgresql":
        environ["PRISM_DATABASE_URL"] = request.getfixturevalue("postgres").url()
    stored = kill_loop.StoredIds()
    for _ in range(int(os.environ.get("PRISM_KILL_ROUNDS", "3"))):
        kill_loop.run_round(stored, **environ)
    counts = kill_loop.count_ids(**environ)
    assert set(stored.ids) <= set(counts)
    assert set(counts.values()) == {1}
    assert len(set(stored.ids)) == len(stored.ids)


def test_sigkill_of_postgresql_loses_and_duplicates_nothing(
    postgres: Postgres, tmp_path: Path
) -> None:
    environ = {"PRISM_DATA_DIR": str(tmp_path), "PRISM_DATABASE_URL": postgres.url()}
    stored = kill_loop.StoredIds()
    rounds = int(os.environ.get("PRISM_KILL_ROUNDS", "3"))
    kill_loop.run_database_rounds(stored, postgres, rounds, **environ)
    counts = kill_loop.count_ids(**environ)
    assert set(stored.ids) <= set(counts)
    assert set(counts.values()) == {1}


def test_classifications_continue_while_postgresql_is_down(
    postgres: Postgres, tmp_path: Path
) -> None:
    with BackendProcess(
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
            unavailable = backend.get("/history")
            assert (unavailable.status_code, unavailable.json()["code"]) == (
                503,
                "history_unavailable",
            )
        finally:
            postgres.start()
        after = classify_until(backend, stored=True)
        for one in (before, after):
            assert backend.get(f"/history/{one['id']}").status_code == 200


def test_database_may_start_after_the_backend(postgres: Postgres, tmp_path: Path) -> None:
    postgres.stop()
    log = tmp_path / "log"
    url = postgres.url().replace("prism@", "prism:secret@")
    with BackendProcess(
        log, PRISM_DATABASE_URL=url, PRISM_DATA_DIR=str(tmp_path / "data")
    ) as backend:
        backend.wait_until_ready()
        assert classify(backend)["stored"] is False
        postgres.start()
        classify_until(backend, stored=True)
    assert "secret" not in log.read_text()


def test_locked_database_does_not_block_requests(tmp_path: Path) -> None:
    with BackendProcess(PRISM_DATA_DIR=str(tmp_path), PRISM_HISTORY_OPEN="true") as backend:
        backend.wait_until_ready()
        classify_until(backend, stored=True)
        other = sqlite3.connect(tmp_path / "history.db", isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        assert classify(backend)["stored"] is False
        assert backend.get("/history").status_code == 200
        other.close()
        classify_until(backend, stored=True)


@pytest.mark.skipif(sys.platform != "linux", reason="requires prlimit")
def test_full_disk_does_not_block_requests(tmp_path: Path) -> None:
    import resource

    with BackendProcess(tmp_path / "log", PRISM_DATA_DIR=str(tmp_path / "data")) as backend:
        backend.wait_until_ready()
        classify_until(backend, stored=True)
        pid = backend.process.pid
        _, hard = limit = resource.prlimit(pid, resource.RLIMIT_FSIZE)
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (1000, hard))
        assert classify(backend)["stored"] is False
        resource.prlimit(pid, resource.RLIMIT_FSIZE, limit)
        classify_until(backend, stored=True)
