"""Several backends that share one history, behind a balancer: killed, ended, asked by turns."""

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

from client import BackendError, Client
from tests.e2e.backend_process import BackendProcess
from tests.e2e.load_balancer import LoadBalancer
from tests.e2e.load_clients import RequestLog, LoadClients
from tests.e2e.drain_loop import DIGIT
from tests.history.postgres import Postgres, running

CLIENTS = 6
ENOUGH = 40  # answers of each backend between two events

Three = tuple[BackendProcess, BackendProcess, BackendProcess]


@pytest.fixture(scope="module")
def postgres() -> Iterator[Postgres]:
    with running() as server:
        yield server


@pytest.fixture
def database(postgres: Postgres) -> str:
    """The address of an empty database."""
    return postgres.create(f"history_{time.monotonic_ns()}")


@pytest.fixture
def three(database: str, tmp_path: Path) -> Iterator[Three]:
    """Three backends that start at the same time on one database, and store."""
    with ExitStack() as left:
        one, two, three = (
            left.enter_context(
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
            wait_until_it_stores(backend)
        yield one, two, three


def wait_until_it_stores(backend: BackendProcess) -> None:
    end = time.monotonic() + 60
    with Client(backend.url) as client:
        while not client.classify(DIGIT, filename="first").stored:
            assert time.monotonic() < end, "nothing is stored"


@contextmanager
def no_commits(database: str) -> Iterator[None]:
    """Hold all commits up, so that requests are inside and nothing of them may be called stored."""
    with psycopg.connect(database) as connection:
        connection.execute("LOCK TABLE answers IN EXCLUSIVE MODE")
        yield


def wait_for_requests(balancer: LoadBalancer, port: int, number: int = 3) -> None:
    """Wait until so many more have been led to the backend on `port`."""
    end, before = time.monotonic() + 60, balancer.led[port]
    while balancer.led[port] < before + number:
        assert time.monotonic() < end
        time.sleep(0.005)


def exported(backend: BackendProcess, query: str = "") -> list[dict[str, Any]]:
    """The answers of the history as this backend tells it."""
    answer = backend.get(f"/history/export?format=ndjson{query}")
    assert answer.status_code == 200
    return [json.loads(line) for line in answer.text.splitlines()]


def test_nothing_is_lost_or_doubled_when_one_is_killed_and_one_is_ended(
    three: Three, database: str
) -> None:
    killed, ended, left = three
    account = RequestLog()
    ports = [backend.port for backend in three]
    with LoadBalancer(ports) as balancer, LoadClients(CLIENTS, balancer, account):
        account.wait_for_answers(ENOUGH, *ports)

        with no_commits(database):
            wait_for_requests(balancer, killed.port)
            killed.process.kill()
            killed.process.wait()
        killed_at = time.monotonic()
        account.wait_for_answers(ENOUGH, ended.port, left.port)

        broken_before = len(account.broken)
        with no_commits(database):
            wait_for_requests(balancer, ended.port)
            ended.process.send_signal(signal.SIGTERM)
        assert ended.process.wait(timeout=20) == -signal.SIGTERM
        account.wait_for_answers(ENOUGH, left.port)

    assert account.failed == []
    for one in account.broken:
        assert one.port == killed.port, one
        assert one.begun < killed_at, one
    assert len(account.broken) <= CLIENTS
    assert len(account.broken) == broken_before, "a request failed after SIGTERM"

    history = exported(left)
    times = Counter(one["id"] for one in history)
    assert set(times.values()) == {1}
    names = Counter(one["filename"] for one in history if one["filename"] != "first")
    assert set(names.values()) == {1}, "asked again after a refusal, and stored twice"
    lost = [one for one in account.answered if one.stored and not times[one.id]]
    assert lost == [], "called stored, and is not in the history"
    assert all(any(one.stored for one in account.answered if one.port == port) for port in ports)


def test_what_one_has_answered_can_be_corrected_and_exported_through_any(three: Three) -> None:
    clients = [Client(backend.url) for backend in three]
    for number, client in enumerate(clients):
        beside, across = clients[number - 1], clients[number - 2]
        answer = client.classify(DIGIT, filename=f"{number}.png")
        assert answer.stored
        beside.history.correct(answer.id, "1")
        assert across.history.get(answer.id).correction == "1"
        assert across.history.image(answer.id) == client.history.image(answer.id)
    first, second, third = (exported(backend) for backend in three)
    assert first == second == third
    corrected = {one["filename"] for one in exported(three[0], "&corrected=true")}
    assert corrected == {"0.png", "1.png", "2.png"}
    counts = {
        (found.confirmed, found.corrected) for found in (c.history.accuracy() for c in clients)
    }
    assert counts == {(0, 3)}
    clients[0].history.delete(answer.id)
    with pytest.raises(BackendError) as gone:
        clients[1].history.get(answer.id)
    assert gone.value.status == 404
    for client in clients:
        client.close()
