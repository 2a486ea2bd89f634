"""The client's history against a real backend and against invalid responses."""

import hashlib
import io
import json
import time
import zipfile
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from client import BackendError, Client, HistoryFilters, InvalidResponse
from tests.client.fake_server import FakeResponse, serving
from tests.e2e.backend_process import BackendProcess
from tests.images import encoded, seven

SEVEN = encoded(seven())
KEY = "test-key"


@pytest.fixture(scope="module")
def backend(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BackendProcess]:
    """A backend that stores thumbnails and requires an API key."""
    with BackendProcess(
        PRISM_API_KEYS=hashlib.sha256(KEY.encode()).hexdigest(),
        PRISM_HISTORY_IMAGES="true",
        PRISM_DATA_DIR=str(tmp_path_factory.mktemp("data")),
    ) as backend:
        backend.wait_until_ready()
        yield backend


@pytest.fixture
def client(backend: BackendProcess) -> Iterator[Client]:
    """A client with the API key, and an empty history."""
    with Client(backend.url, api_key=f" {KEY}\n") as client:
        while not client.classify(SEVEN, filename="first.png").stored:
            pass
        client.history.clear()
        yield client


def test_classification_is_listed_corrected_and_deleted(client: Client) -> None:
    classified = client.classify(SEVEN, filename="seven.png")
    assert classified.stored
    (stored,) = client.history.page().items
    assert stored == client.history.get(classified.id)
    assert (stored.id, stored.filename) == (classified.id, "seven.png")
    assert stored.prediction == classified.prediction
    assert stored.sha256 == hashlib.sha256(SEVEN).hexdigest()
    assert (stored.model, stored.timings) == (classified.model, classified.timings)
    assert stored.top[0].label == classified.top[0].label
    assert datetime.now(UTC) - stored.time < timedelta(minutes=5)
    assert stored.image
    assert client.history.image(classified.id)[8:12] == b"WEBP"

    assert client.history.correct(classified.id, "1").correction == "1"
    accuracy = client.history.accuracy()
    assert (accuracy.confirmed, accuracy.corrected, accuracy.accuracy) == (0, 1, 0.0)
    assert list(accuracy.days) == [stored.time.date().isoformat()]
    assert [one.id for one in client.history.page(HistoryFilters(wrong=True)).items] == [
        classified.id
    ]
    assert client.history.none_of_these(classified.id).none_of_these
    undone = client.history.correct(classified.id, None)
    assert (undone.none_of_these, undone.corrected_at) == (False, None)
    assert client.history.accuracy().accuracy is None

    other = next(one for one in client.models().models if one.name != stored.model.name)
    label = other.labels[0]
    corrected = client.history.correct(classified.id, label, model=other.name)
    assert (corrected.correction, corrected.correction_model) == (label, other.name)
    with pytest.raises(BackendError, match="unknown_label"):
        client.history.correct(classified.id, "no label", model=other.name)

    client.history.delete(classified.id)
    with pytest.raises(BackendError, match="unknown_answer"):
        client.history.get(classified.id)


def test_pages_and_exports_apply_the_filters(client: Client) -> None:
    ids = [client.classify(SEVEN, filename=f"{n}.png").id for n in range(3)]
    page = client.history.page(limit=2)
    assert [one.id for one in page.items] == ids[:0:-1]
    assert [one.id for one in client.history.page(limit=2, cursor=page.next).items] == ids[:1]
    client.history.correct(ids[1], "7")
    assert client.history.accuracy().total == 3
    for filters, count in [
        (HistoryFilters(corrected=True), 1),
        (HistoryFilters(corrected=False), 2),
        (HistoryFilters(model="cats"), 0),
        (HistoryFilters(search="1.PNG"), 1),
        (HistoryFilters(label=page.items[0].prediction), 3),
        (HistoryFilters(since=datetime.now(UTC) - timedelta(hours=1)), 3),
        (HistoryFilters(until=datetime(2020, 1, 1)), 0),
    ]:
        assert len(client.history.page(filters).items) == count, filters
        lines = b"".join(client.history.export(filters)).splitlines()
        assert len([json.loads(line) for line in lines]) == count
    assert b"".join(client.history.export(file_format="csv")).count(b"\r\n") == 4


def test_images_are_exported(client: Client) -> None:
    stored_id = client.classify(SEVEN, filename="seven.png").id
    client.history.correct(stored_id, "1")
    content = b"".join(client.history.export(file_format="images"))
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        assert archive.namelist() == [f"1/seven_{stored_id}.webp"]
        assert archive.read(archive.namelist()[0]) == client.history.image(stored_id)


def test_matching_classifications_are_deleted(client: Client) -> None:
    for name in ("a.png", "b.png"):
        client.classify(SEVEN, filename=name)
    time.sleep(0.002)  # records of the same millisecond are not deleted
    assert client.history.clear(HistoryFilters(search="B.png")) == 1
    assert [one.filename for one in client.history.page().items] == ["a.png"]


def test_storage_is_described(client: Client) -> None:
    storage = client.history.storage()
    assert (storage.images, storage.days) == (True, 30)
    assert storage.location is not None
    assert storage.location.endswith("history.db")


@pytest.mark.parametrize(("key", "code"), [(None, "api_key_missing"), ("wrong", "api_key_wrong")])
def test_missing_and_wrong_key_have_different_codes(
    backend: BackendProcess, key: str | None, code: str
) -> None:
    with Client(backend.url, api_key=key) as client:
        for request in (client.models, client.history.page, client.info):
            with pytest.raises(BackendError) as raised:
                request()
            assert raised.value.code == code


@pytest.mark.parametrize("key", ["two words", "Schlüssel", "a\nb"])
def test_malformed_key_raises_value_error(key: str) -> None:
    with pytest.raises(ValueError, match="API key"):
        Client("http://localhost", api_key=key)


def test_key_is_not_sent_as_authorization() -> None:
    with (
        serving(FakeResponse(b'{"name": "Prism"}')) as (url, received),
        Client(url, api_key="k") as client,
    ):
        client.info()
    assert received[0].headers["X-API-Key"] == "k"
    assert "Authorization" not in received[0].headers


@pytest.mark.parametrize(
    "body", [b"[]", b"{}", b'{"answers": [{}]}', b'{"answers": [{"time": "now"}]}']
)
def test_malformed_history_raises_invalid_response(body: bytes) -> None:
    with (
        serving(FakeResponse(body)) as (url, _),
        Client(url) as client,
        pytest.raises(InvalidResponse),
    ):
        client.history.page()


def test_drift_of_a_model_is_returned(client: Client) -> None:
    classified = client.classify(SEVEN, filename="seven.png")
    drift = client.history.drift(classified.model.name, time_zone="Europe/Berlin")
    assert (drift.model, drift.version) == (classified.model.name, classified.model.version)
    assert (drift.images, drift.alert, drift.labels) == (1, False, ())
    (day,) = drift.days
    assert (day.images, dict(day.labels)) == (1, {classified.prediction: 1})
    assert day.brightness is not None
    assert {one.name for one in drift.statistics} >= {"labels", "confidence", "error_rate"}
    assert not client.history.drift(drift.model, until=datetime(2020, 1, 1, tzinfo=UTC)).images
