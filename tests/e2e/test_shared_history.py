"""Several backends with one history behind a load balancer, one killed, one terminated."""

import json
import signal
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest

from client import BackendError, Classification, Client
from tests.e2e.backend_process import BackendProcess
from tests.e2e.drain_loop import DIGIT_PNG
from tests.e2e.load_balancer import LoadBalancer
from tests.e2e.load_clients import LoadClients, RequestLog
from tests.history.postgres import Postgres, running

CLIENTS = 6
SUCCESSES = 40  # of each backend between two events

ThreeBackends = tuple[BackendProcess, BackendProcess, BackendProcess]


@pytest.fixture(scope="module")
def postgres() -> Iterator[Postgres]:
    with running() as server:
        yield server


@pytest.fixture
def database(postgres: Postgres) -> str:
    """The URL of an empty database."""
    return postgres.create(f"history_{time.monotonic_ns()}")


@pytest.fixture
def backends(database: str, tmp_path: Path) -> Iterator[ThreeBackends]:
    """Three backends that start at the same time on one database."""
    with ExitStack() as stack:
        one, two, three = (
            stack.enter_context(
                BackendProcess(
                    PRISM_DATABASE_URL=database,
                    PRISM_DATA_DIR=str(tmp_path / str(number)),
                    PRISM_HISTORY_OPEN="true",
                    PRISM_HISTORY_IMAGES="true",
                    PRISM_LOG_LEVEL="warning",
                )
            )
            for number in range(3)
        )
        for backend in (one, two, three):
            backend.wait_until_ready()
            wait_until_storing(backend)
        yield one, two, three


def classify_and_store(client: Client, filename: str) -> Classification:
    """Classify until the classification is stored: a commit may time out on a busy machine."""
    end = time.monotonic() + 60
    while not (classification := client.classify(DIGIT_PNG, filename=filename)).stored:
        assert time.monotonic() < end, "nothing is stored"
    return classification


def wait_until_storing(backend: BackendProcess) -> None:
    with Client(backend.url) as client:
        classify_and_store(client, "first")


@contextmanager
def blocked_commits(database: str) -> Iterator[None]:
    """Block all commits, so that no request in flight is reported as stored."""
    with psycopg.connect(database) as connection:
        connection.execute("LOCK TABLE answers IN EXCLUSIVE MODE")
        yield


def wait_for_requests(balancer: LoadBalancer, port: int, number: int = 3) -> None:
    """Wait for `number` further connections to the backend at `port`."""
    end, before = time.monotonic() + 60, balancer.connections[port]
    while balancer.connections[port] < before + number:
        assert time.monotonic() < end
        time.sleep(0.005)


def export(backend: BackendProcess, query: str = "") -> list[dict[str, Any]]:
    """Return the history as exported by this backend."""
    response = backend.get(f"/history/export?format=ndjson{query}")
    assert response.status_code == 200
    return [json.loads(line) for line in response.text.splitlines()]


def test_killing_and_terminating_backends_loses_and_duplicates_nothing(
    backends: ThreeBackends, database: str
) -> None:
    killed, terminated, remaining = backends
    request_log = RequestLog()
    ports = [backend.port for backend in backends]
    with LoadBalancer(ports) as balancer, LoadClients(CLIENTS, balancer, request_log):
        request_log.wait_for_successes(SUCCESSES, *ports)

        with blocked_commits(database):
            wait_for_requests(balancer, killed.port)
            killed.process.kill()
            killed.process.wait()
        killed_at = time.monotonic()
        request_log.wait_for_successes(SUCCESSES, terminated.port, remaining.port)

        disconnects_before = len(request_log.disconnects)
        with blocked_commits(database):
            wait_for_requests(balancer, terminated.port)
            terminated.process.send_signal(signal.SIGTERM)
        assert terminated.process.wait(timeout=20) == -signal.SIGTERM
        request_log.wait_for_successes(SUCCESSES, remaining.port)

    assert request_log.errors == []
    for one in request_log.disconnects:
        assert one.port == killed.port, one
        assert one.started < killed_at, one
    assert len(request_log.disconnects) <= CLIENTS
    assert len(request_log.disconnects) == disconnects_before, "a request failed after SIGTERM"

    history = export(remaining)
    counts = Counter(one["id"] for one in history)
    assert set(counts.values()) == {1}
    names = Counter(one["filename"] for one in history if one["filename"] != "first")
    assert set(names.values()) == {1}, "stored twice after a retry"
    lost = [one for one in request_log.successes if one.stored and not counts[one.id]]
    assert lost == [], "reported as stored, but not in the history"
    assert all(
        any(one.stored for one in request_log.successes if one.port == port) for port in ports
    )


def test_any_backend_corrects_and_exports_all_classifications(backends: ThreeBackends) -> None:
    clients = [Client(backend.url) for backend in backends]
    for number, client in enumerate(clients):
        second, third = clients[number - 1], clients[number - 2]
        classification = classify_and_store(client, f"{number}.png")
        second.history.correct(classification.id, "1")
        assert third.history.get(classification.id).correction == "1"
        assert third.history.image(classification.id) == client.history.image(classification.id)
    exports = [export(backend) for backend in backends]
    assert exports[0] == exports[1] == exports[2]
    corrected = {one["filename"] for one in export(backends[0], "&corrected=true")}
    assert corrected == {"0.png", "1.png", "2.png"}
    feedback = {
        (accuracy.confirmed, accuracy.corrected)
        for accuracy in (client.history.accuracy() for client in clients)
    }
    assert feedback == {(0, 3)}
    clients[0].history.delete(classification.id)
    with pytest.raises(BackendError) as caught:
        clients[1].history.get(classification.id)
    assert caught.value.status == 404
    for client in clients:
        client.close()
