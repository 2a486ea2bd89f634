"""The client's history against a real backend, and against answers that are none."""

import hashlib
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from client import BackendError, Client, InvalidAnswer, Search
from tests.client.server import Answer, serving
from tests.e2e.backend import Backend
from tests.pictures import encoded, seven

SEVEN = encoded(seven())
KEY = "a-key-of-the-tests"


@pytest.fixture(scope="module")
def backend(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Backend]:
    """A backend that keeps pictures, and asks for a key."""
    with Backend(
        PRISM_API_KEYS=hashlib.sha256(KEY.encode()).hexdigest(),
        PRISM_HISTORY_IMAGES="true",
        PRISM_DATA_DIR=str(tmp_path_factory.mktemp("data")),
    ) as backend:
        backend.wait_until_ready()
        yield backend


@pytest.fixture
def client(backend: Backend) -> Iterator[Client]:
    """A client with the key, and an empty history."""
    with Client(backend.url, api_key=f" {KEY}\n") as client:
        while not client.classify(SEVEN, filename="first.png").stored:
            pass
        client.history.clear()
        yield client


def test_an_answer_is_found_corrected_and_forgotten(client: Client) -> None:
    answer = client.classify(SEVEN, filename="seven.png")
    assert answer.stored
    (kept,) = client.history.page().answers
    assert kept == client.history.get(answer.id)
    assert (kept.id, kept.filename, kept.prediction) == (answer.id, "seven.png", answer.prediction)
    assert kept.sha256 == hashlib.sha256(SEVEN).hexdigest()
    assert (kept.model, kept.timings) == (answer.model, answer.timings)
    assert kept.top[0].label == answer.top[0].label
    assert datetime.now(UTC) - kept.time < timedelta(minutes=5)
    assert kept.image
    assert client.history.image(answer.id)[8:12] == b"WEBP"

    assert client.history.correct(answer.id, "1").correction == "1"
    counted = client.history.accuracy()
    assert (counted.confirmed, counted.corrected, counted.accuracy) == (0, 1, 0.0)
    assert list(counted.days) == [kept.time.date().isoformat()]
    assert client.history.correct(answer.id, None).corrected_at is None
    assert client.history.accuracy().accuracy is None

    client.history.delete(answer.id)
    with pytest.raises(BackendError, match="unknown_answer"):
        client.history.get(answer.id)


def test_pages_and_exports_hold_what_is_searched_for(client: Client) -> None:
    ids = [client.classify(SEVEN, filename=f"{n}.png").id for n in range(3)]
    page = client.history.page(limit=2)
    assert [one.id for one in page.answers] == ids[:0:-1]
    assert [one.id for one in client.history.page(limit=2, cursor=page.next).answers] == ids[:1]
    client.history.correct(ids[1], "7")
    for search, count in [
        (Search(corrected=True), 1),
        (Search(corrected=False), 2),
        (Search(model="cats"), 0),
        (Search(label=page.answers[0].prediction), 3),
        (Search(since=datetime.now(UTC) - timedelta(hours=1)), 3),
        (Search(until=datetime(2020, 1, 1)), 0),
    ]:
        assert len(client.history.page(search).answers) == count, search
        lines = b"".join(client.history.export(search)).splitlines()
        assert len([json.loads(line) for line in lines]) == count
    assert b"".join(client.history.export(file_format="csv")).count(b"\r\n") == 4


@pytest.mark.parametrize(("key", "code"), [(None, "api_key_missing"), ("wrong", "api_key_wrong")])
def test_a_missing_and_a_wrong_key_are_told_apart(
    backend: Backend, key: str | None, code: str
) -> None:
    with Client(backend.url, api_key=key) as client:
        for ask in (client.models, client.history.page, client.info):
            with pytest.raises(BackendError) as raised:
                ask()
            assert raised.value.code == code


@pytest.mark.parametrize("key", ["two words", "Schlüssel", "a\nb"])
def test_what_cannot_be_a_key_is_refused_at_once(key: str) -> None:
    with pytest.raises(ValueError, match="API key"):
        Client("http://localhost", api_key=key)


def test_the_key_leaves_the_way_to_a_private_backend_open() -> None:
    with serving(Answer(b'{"name": "Prism"}')) as (url, asked), Client(url, api_key="k") as client:
        client.info()
    assert asked[0].headers["X-API-Key"] == "k"
    assert "Authorization" not in asked[0].headers


@pytest.mark.parametrize(
    "body", [b"[]", b"{}", b'{"answers": [{}]}', b'{"answers": [{"time": "now"}]}']
)
def test_an_answer_of_another_shape_is_invalid(body: bytes) -> None:
    with serving(Answer(body)) as (url, _), Client(url) as client, pytest.raises(InvalidAnswer):
        client.history.page()
