"""/history: listing, feedback, export and deletion."""

import csv
import hashlib
import io
import json
import subprocess
import sys
import time
import zipfile
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from PIL import Image
from starlette.testclient import TestClient

from backend.api.routes import history as routes
from backend.history.history import History
from backend.history.store import Store
from backend.inference.runtimes.fake_runtime import FakeRuntime
from evaluation.sources.archive import open_zip
from tests.api.problems import problem
from tests.conftest import ROOT
from tests.fake_models import CALIBRATION, serve, write_model
from tests.images import encoded, noise, seven

SEVEN = encoded(seven())
WAIT = 60


def wait_until_open(client: TestClient) -> None:
    """Wait until the database has been opened."""
    end = time.monotonic() + WAIT
    while client.get("/history").status_code == 503:
        assert time.monotonic() < end
        time.sleep(0.01)


@pytest.fixture
def settings() -> dict[str, Any]:
    """Settings of the client; tests may change them."""
    return {"history": True, "history_open": True}


@pytest.fixture
def client(tmp_path: Path, settings: dict[str, Any]) -> Iterator[TestClient]:
    """A client of a calibrated model that always predicts 7, with a history."""
    write_model(tmp_path / "models", calibration=CALIBRATION)
    runtime = FakeRuntime(10, winner=lambda _: 7)
    with serve(tmp_path / "models", runtime, **settings) as client:
        wait_until_open(client)
        yield client


@pytest.fixture
def client_of_two_models(tmp_path: Path, settings: dict[str, Any]) -> Iterator[TestClient]:
    """A client of the model `fake`, which always predicts 0, and of `photos` with cat and dog."""
    write_model(tmp_path / "models")
    write_model(tmp_path / "models", name="photos", labels=["cat", "dog"])
    with serve(tmp_path / "models", default_model="fake", **settings) as client:
        wait_until_open(client)
        yield client


def classify(client: TestClient, name: str = "seven.png", query: str = "") -> dict[str, Any]:
    classification: dict[str, Any] = client.post(
        f"/classify{query}", files={"file": (name, SEVEN)}
    ).json()
    assert classification["stored"] is True
    return classification


def list_history(client: TestClient, query: str = "") -> list[dict[str, Any]]:
    answers: list[dict[str, Any]] = client.get(f"/history{query}").json()["answers"]
    return answers


def test_classification_is_stored_as_returned(client: TestClient) -> None:
    classification = classify(client)
    (stored,) = list_history(client)
    assert stored == client.get(f"/history/{classification['id']}").json()
    fields = ("id", "filename", "model", "prediction", "prediction_set", "coverage")
    for name in (*fields, "in_distribution", "ood_score", "timings_ms"):
        assert stored[name] == classification[name]
    assert stored["confidence"] == pytest.approx(classification["confidence"])
    assert [one["label"] for one in stored["top"]] == [
        one["label"] for one in classification["top"]
    ]
    assert stored["sha256"] == hashlib.sha256(SEVEN).hexdigest()
    assert (stored["image"], stored["correction"], stored["corrected_at"]) == (False, None, None)
    time_stored = datetime.fromisoformat(stored["time"])
    assert timedelta(0) <= datetime.now(UTC) - time_stored < timedelta(minutes=1)
    assert stored["time"].endswith("Z")


def test_every_valid_image_of_batch_is_stored(client: TestClient) -> None:
    files = [("file", (f"{n}.png", SEVEN)) for n in range(20)] + [("file", ("bad.png", b"no"))]
    lines = client.post("/classify/batch", files=files).text.splitlines()
    answers = [json.loads(line) for line in lines[:-1]]
    assert all(classification["stored"] is True for classification in answers)
    assert {one["id"] for one in list_history(client)} == {
        classification["id"] for classification in answers
    }


def test_image_sent_to_predict_is_stored(client: TestClient) -> None:
    assert client.post("/predict", files={"image": SEVEN}).json()["stored"] is True
    assert len(list_history(client)) == 1


def test_store_false_stores_nothing(client: TestClient) -> None:
    classification = client.post("/classify?store=false", files={"file": SEVEN}).json()
    assert classification["stored"] is None
    line = client.post("/classify/batch?store=false", files={"file": SEVEN}).json()
    assert line["stored"] is None
    assert list_history(client) == []


def test_top_k_limits_stored_classes(client: TestClient) -> None:
    classify(client, query="?top_k=3")
    assert len(list_history(client)[0]["top"]) == 3


def test_cursor_leads_through_all_pages(client: TestClient) -> None:
    ids = [classify(client, f"{n}.png")["id"] for n in range(5)]
    ids_on_pages: list[str] = []
    query = "?limit=2"
    while True:
        page = client.get(f"/history{query}").json()
        ids_on_pages += [one["id"] for one in page["answers"]]
        if page["next"] is None:
            break
        query = f"?limit=2&cursor={page['next']}"
    assert ids_on_pages == sorted(ids, reverse=True)


@pytest.mark.parametrize(
    ("query", "count"),
    [
        *[("?model=fake", 1), ("?model=other", 0), ("?label=7", 1), ("?label=8", 0)],
        *[("?corrected=true", 0), ("?corrected=false", 1), ("?in_distribution=true", 1)],
        *[("?in_distribution=false", 0), ("?since=2020-01-01", 1), ("?until=2020-01-01", 0)],
        *[("?since=2020-01-01T00:00:00%2B05:00", 1), ("?until=9999-12-31T23:59:59-12:00", 1)],
        *[("?since=0001-01-01", 1), ("?search=SEVEN", 1), ("?search=cat", 0)],
        *[("?wrong=true", 0), ("?wrong=false", 0)],
    ],
)
def test_filters_apply_to_list_and_export(client: TestClient, query: str, count: int) -> None:
    classify(client)
    assert len(list_history(client, query)) == count
    assert len(client.get(f"/history/export{query}").text.splitlines()) == count


@pytest.mark.parametrize(
    "query",
    [
        "?wrong=x",
        f"?search={501 * 'a'}",
        "?limit=0",
        "?limit=501",
        "?cursor=x",
        "?since=yesterday",
        "?corrected=maybe",
        "?limit=a",
    ],
)
def test_invalid_parameter_returns_422(client: TestClient, query: str) -> None:
    problem(client.get(f"/history{query}"), 422, "invalid_parameter")


def test_parameters_are_read_strictly(client: TestClient) -> None:
    for query in (
        *("until=0.5", "since=5", "since=20200101", "until=", "since=%202020-01-01", "until=1e9"),
        *("limit=1_0", "limit=%2B5", "limit=%205", "limit=%D9%A5", "limit=5.0", "limit="),
        *("corrected=yes", "wrong=", "in_distribution=on", "label=%00", "search=%ff"),
        *(f"model={65 * 'a'}", f"label={501 * 'a'}", "model=a&model=b", "limit=5&limit=5"),
    ):
        problem(client.get(f"/history?{query}"), 422, "invalid_parameter")


def test_long_name_of_an_unknown_field_is_cut(client: TestClient) -> None:
    one = classify(client)["id"]
    for response in (
        client.patch(f"/history/{one}", json={"a" * 9_000: 1}),
        client.delete(f"/history?{'a' * 5_000}=1"),
    ):
        problem(response, 422, "invalid_parameter")
        assert len(response.content) < 600


def test_text_that_is_no_id_never_reaches_the_database(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise AssertionError("the database was asked")

    for name in ("get", "image", "delete", "set_feedback"):
        monkeypatch.setattr(Store, name, fail)
    for text in ("%00", "0" * 25, "0" * 27, "0" * 25 + "u", "0" * 26 + "%0a", "A'--", "A" * 5_000):
        for method, path in (("GET", ""), ("GET", "/image"), ("DELETE", ""), ("PATCH", "")):
            response = client.request(method, f"/history/{text}{path}", json={"correction": "7"})
            problem(response, 404, "unknown_answer")


def test_head_reads_no_rows_of_an_export(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise AssertionError("the database was asked")

    classify(client)
    monkeypatch.setattr(Store, "pages", lambda *_: map(fail, [None]))
    response = client.head("/history/export")
    assert (response.status_code, response.content) == (200, b"")
    assert "history.ndjson" in response.headers["content-disposition"]
    for path in ("", "/storage", "/accuracy"):
        assert client.head(f"/history{path}").status_code == 200


def test_correction_is_stored_counted_and_undone(client: TestClient) -> None:
    wrong, right, _ = (classify(client)["id"] for _ in range(3))
    corrected = client.patch(f"/history/{wrong}", json={"correction": "1"}).json()
    assert (corrected["correction"], corrected["corrected_at"][-1]) == ("1", "Z")
    client.patch(f"/history/{right}", json={"correction": "7"})
    accuracy = client.get("/history/accuracy").json()
    assert accuracy.pop("total") == 3
    day = datetime.now(UTC).date().isoformat()
    counts = {"confirmed": 1, "corrected": 1, "accuracy": 0.5}
    assert accuracy == counts | {"days": [counts | {"day": day}]}
    client.patch(f"/history/{wrong}", json={"correction": None})
    assert client.get("/history/accuracy").json()["accuracy"] == 1
    assert client.get(f"/history/{wrong}").json()["corrected_at"] is None


def test_accuracy_has_days_of_the_requested_time_zone(client: TestClient) -> None:
    stored = classify(client)
    client.patch(f"/history/{stored['id']}", json={"correction": "7"})
    time = datetime.fromisoformat(client.get(f"/history/{stored['id']}").json()["time"])
    for zone in ("Pacific/Kiritimati", "Pacific/Niue"):  # UTC+14 and UTC-11
        (day,) = client.get(f"/history/accuracy?time_zone={zone}").json()["days"]
        assert day["day"] == time.astimezone(ZoneInfo(zone)).date().isoformat()


@pytest.mark.parametrize("zone", ["Nowhere", "America", "../../etc/passwd", "", "%00", 101 * "x"])
def test_invalid_time_zone_returns_422(client: TestClient, zone: str) -> None:
    problem(client.get(f"/history/accuracy?time_zone={zone}"), 422, "invalid_parameter")


def test_thumbnail_has_the_rest_of_the_deadline(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[float] = []

    async def add(
        _: History, fields: object, content: bytes, seconds: float, *, brightness: object
    ) -> bool:
        given.append(seconds)
        return True

    monkeypatch.setattr(History, "add", add)
    headers = {"X-Request-Timeout": "3"}
    for path in ("/classify", "/classify/batch"):
        client.post(path, files={"file": ("seven.png", SEVEN)}, headers=headers)
    assert len(given) == 2
    assert all(0 < seconds < 3 for seconds in given)


def test_accuracy_without_feedback_is_null(client: TestClient) -> None:
    empty: dict[str, Any] = {"confirmed": 0, "corrected": 0, "accuracy": None, "total": 0}
    empty["days"] = []
    assert client.get("/history/accuracy").json() == empty


@pytest.mark.parametrize(
    "body",
    [
        {"correction": "cat"},
        {"correction": "cat", "correction_model": "fake"},
        {"correction": "7", "correction_model": "photos"},
        {"correction": "7", "correction_model": "not served"},
        {"correction": "7", "correction_model": "auto"},
    ],
)
def test_correction_must_be_a_label_of_its_model(
    client_of_two_models: TestClient, body: dict[str, str]
) -> None:
    path = f"/history/{classify(client_of_two_models)['id']}"
    problem(client_of_two_models.patch(path, json=body), 422, "unknown_label")
    assert client_of_two_models.get(path).json()["corrected_at"] is None


def test_correction_to_a_label_of_another_model(client_of_two_models: TestClient) -> None:
    client = client_of_two_models
    path = f"/history/{classify(client)['id']}"
    body = {"correction": "cat", "correction_model": "photos"}
    stored = client.patch(path, json=body).json()
    assert {name: stored[name] for name in body} == body
    assert stored == client.get(path).json()
    assert client.get("/history/accuracy").json()["corrected"] == 1
    own = client.patch(path, json={"correction": "0", "correction_model": "fake"}).json()
    assert (own["correction"], own["correction_model"]) == ("0", None)
    assert client.get("/history/accuracy").json()["accuracy"] == 1


def test_none_of_these_is_stored_and_undone(client: TestClient) -> None:
    path = f"/history/{classify(client)['id']}"
    stored = client.patch(path, json={"none_of_these": True}).json()
    assert (stored["none_of_these"], stored["correction"]) == (True, None)
    assert stored["corrected_at"] is not None
    assert [len(list_history(client, f"?wrong={wrong}")) for wrong in ("true", "false")] == [1, 0]
    undone = client.patch(path, json={"correction": None}).json()
    assert (undone["none_of_these"], undone["corrected_at"]) == (False, None)
    assert list_history(client, "?wrong=true") == []


def test_rejected_feedback_says_what_to_send(client: TestClient) -> None:
    response = client.patch(f"/history/{classify(client)['id']}", json={})
    detail = problem(response, 422, "invalid_parameter")["detail"]
    assert all(part in detail for part in ("correction", "none_of_these", "null"))


@pytest.mark.parametrize(
    "body",
    [b"", b"{}", b"7", b'{"correction": 7}', b'{"correction": "7", "more": 1}', b"\xff",
     b'{"none_of_these": false}', b'{"none_of_these": null}', b'{"correction_model": "fake"}',
     b'{"correction": null, "correction_model": "fake"}',
     b'{"correction": "7", "none_of_these": true}',
     b'{"correction": null, "none_of_these": true}',
     b'{"none_of_these": true, "correction_model": "fake"}',
     b'{"correction": "\\u0000"}', b'{"correction": "' + 501 * b"7" + b'"}'],
)  # fmt: skip
def test_malformed_correction_returns_422(client: TestClient, body: bytes) -> None:
    path = f"/history/{classify(client)['id']}"
    problem(client.patch(path, content=body), 422, "invalid_parameter")
    assert client.get(path).json()["correction"] is None


def test_oversized_correction_returns_413(client: TestClient) -> None:
    body = b'{"correction": "' + 20_000 * b"7" + b'"}'
    problem(client.patch(f"/history/{'0' * 26}", content=body), 413, "body_too_large")


@pytest.mark.parametrize("answer_id", ["0" * 26, "x", "%00", "..%2fx"])
def test_unknown_id_returns_404(client: TestClient, answer_id: str) -> None:
    path = f"/history/{answer_id}"
    answers = [client.get(path), client.delete(path), client.patch(path, json={"correction": "7"})]
    for response in [*answers, client.get(f"{path}/image")]:
        assert response.status_code == 404
        assert response.json()["code"] in {"unknown_answer", "not_found"}


def test_delete_one_and_delete_all(client: TestClient) -> None:
    first, *_ = (classify(client)["id"] for _ in range(3))
    assert client.delete(f"/history/{first}").status_code == 204
    problem(client.get(f"/history/{first}"), 404, "unknown_answer")
    time.sleep(0.002)  # records of the same millisecond are not deleted
    assert client.delete("/history").json() == {"deleted": 2}
    assert list_history(client) == []


def test_delete_with_an_empty_id_deletes_nothing(client: TestClient) -> None:
    classify(client)
    problem(client.delete("/history/"), 404, "unknown_answer")
    assert len(list_history(client)) == 1


def test_delete_matching(client: TestClient) -> None:
    for name in ("a.png", "b.png", "c.png"):
        classify(client, name)
    time.sleep(0.002)
    assert client.delete("/history?search=b.png&label=7").json() == {"deleted": 1}
    assert client.delete("/history?label=1").json() == {"deleted": 0}
    assert client.delete("/history?until=2020-01-01").json() == {"deleted": 0}
    assert [one["filename"] for one in list_history(client)] == ["c.png", "a.png"]


@pytest.mark.parametrize("query", ["?serach=b.png", "?id=1", "?limit=1", "?wrong=maybe"])
def test_delete_with_an_invalid_filter_deletes_nothing(client: TestClient, query: str) -> None:
    classify(client)
    time.sleep(0.002)
    problem(client.delete(f"/history{query}"), 422, "invalid_parameter")
    assert len(list_history(client)) == 1


def test_storage_is_described_on_this_machine(client: TestClient, tmp_path: Path) -> None:
    storage = client.get("/history/storage").json()
    file = str(tmp_path / "models-data" / "history.db")
    assert storage == {"images": False, "days": 30, "location": file}
    assert Path(file).exists()
    forwarded = client.get("/history/storage", headers={"X-Forwarded-For": "1.2.3.4"}).json()
    assert forwarded["location"] is None


def test_location_is_hidden_from_other_machines(tmp_path: Path) -> None:
    write_model(tmp_path)
    settings: dict[str, Any] = {"history": True, "history_open": True, "history_days": 0}
    with serve(tmp_path, host="0.0.0.0", **settings) as client:
        wait_until_open(client)
        storage = client.get("/history/storage").json()
    assert storage == {"images": False, "days": None, "location": None}


def test_images_are_exported_in_folders_of_their_right_labels(tmp_path: Path) -> None:
    write_model(tmp_path / "models")
    settings = {"history": True, "history_open": True, "history_images": True}
    with serve(tmp_path / "models", FakeRuntime(10, lambda _: 7), **settings) as client:
        wait_until_open(client)
        names = ["right.png", "wrong.png", "../none?.png", "unknown.png"]
        ids = [classify(client, name)["id"] for name in names]
        bodies: list[dict[str, Any]] = [{"correction": "7"}, {"correction": "1"}]
        for id_, body in zip(ids, [*bodies, {"none_of_these": True}], strict=False):
            assert client.patch(f"/history/{id_}", json=body).status_code == 200
        response = client.get("/history/export?format=images")
        filtered = client.get("/history/export?format=images&corrected=true&wrong=false")
        empty = client.get("/history/export?format=images&label=1")
    assert response.headers["content-type"] == "application/zip"
    assert "history.zip" in response.headers["content-disposition"]
    (tmp_path / "history.zip").write_bytes(response.content)
    archive = zipfile.ZipFile(io.BytesIO(response.content))
    assert archive.testzip() is None
    assert sorted(archive.namelist()) == [
        f"1/wrong_{ids[1]}.webp",
        f"7/right_{ids[0]}.webp",
        f"none_of_these/none__{ids[2]}.webp",
        f"unlabeled/unknown_{ids[3]}.webp",
    ]
    assert Image.open(archive.open(archive.namelist()[0])).format == "WEBP"
    assert zipfile.ZipFile(io.BytesIO(filtered.content)).namelist() == [f"7/right_{ids[0]}.webp"]
    assert zipfile.ZipFile(io.BytesIO(empty.content)).namelist() == []
    with open_zip(tmp_path / "history.zip") as source:
        assert sorted(str(item.label) for item in source.items) == ["1", "7"]
        assert source.notes


def test_images_of_a_large_history_are_exported_in_parts(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("backend.api.routes.history.MAX_IMAGES", 1)
    for _ in range(2):
        classify(client)
    response = client.get("/history/export?format=images")
    assert "since" in problem(response, 422, "invalid_parameter")["detail"]


def test_csv_export_is_safe_for_spreadsheets(client: TestClient) -> None:
    names = ["a,b.png", '=HYPERLINK("x")', "two\nlines.png"]
    for name in names[:2]:
        classify(client, name)
    response = client.get("/history/export?format=csv")
    assert response.headers["content-type"].startswith("text/csv")
    assert "history.csv" in response.headers["content-disposition"]
    newest, oldest = csv.DictReader(io.StringIO(response.text))
    assert oldest["filename"] == "a,b.png"
    assert newest["filename"].startswith("'=")
    assert newest["prediction"] == "7"
    assert json.loads(newest["top"])[0]["index"] == 7
    assert newest["in_distribution"] == "true"
    assert float(newest["decode_ms"]) >= 0


def test_export_contains_same_records_as_list(client: TestClient) -> None:
    for _ in range(3):
        classify(client)
    lines = client.get("/history/export").text.splitlines()
    assert [json.loads(line) for line in lines] == list_history(client)
    assert client.get("/history/export?format=csv&label=1").text.count("\n") == 1


@pytest.mark.parametrize(
    ("running", "status"),
    [({"testclient": 6}, 429), ({"testclient": 5}, 200), ({"a": 6}, 200), ({"a": 6, "b": 2}, 429)],
)
def test_exports_at_a_time_are_limited(
    client: TestClient, monkeypatch: pytest.MonkeyPatch, running: dict[str, int], status: int
) -> None:
    monkeypatch.setattr(routes, "_exports", Counter(running))
    response = client.get("/history/export")
    assert response.status_code == status
    if status == 429:
        problem(response, 429, "queue_full")
        assert int(response.headers["retry-after"]) > 1
    assert client.get("/history").status_code == 200


def test_export_counts_until_it_is_sent(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    counts = []
    pages = Store.pages

    def counted_pages(*args: Any) -> Iterator[Any]:
        counts.append(dict(routes._exports))
        yield from pages(*args)

    monkeypatch.setattr(Store, "pages", counted_pages)
    client.get("/history/export")
    assert counts == [{"testclient": 1}]
    assert not routes._exports


def test_thumbnails_are_stored_only_if_enabled(tmp_path: Path, client: TestClient) -> None:
    problem(client.get(f"/history/{classify(client)['id']}/image"), 404, "no_image")
    write_model(tmp_path / "more")
    with serve(tmp_path / "more", history=True, history_open=True, history_images=True) as other:
        wait_until_open(other)
        photo = encoded(noise(900, 600), "JPEG")
        classification = other.post("/classify", files={"file": photo}).json()
        assert classification["stored"] is True
        assert other.get(f"/history/{classification['id']}").json()["image"] is True
        image = other.get(f"/history/{classification['id']}/image")
    assert image.headers["content-type"] == "image/webp"
    assert Image.open(io.BytesIO(image.content)).size == (256, 171)


def test_expired_classifications_are_deleted(tmp_path: Path, client: TestClient) -> None:
    """A second application opens the database of the client's and deletes old rows."""
    from backend.history.store import Store
    from tests.history.records import make_record

    store = Store("", tmp_path / "models-data")
    old, new = make_record(datetime.now(UTC) - timedelta(days=31)), make_record(datetime.now(UTC))
    store.add([old, new])
    with serve(tmp_path / "models", history=True, history_open=True) as other:
        wait_until_open(other)
        end = time.monotonic() + WAIT
        while other.get(f"/history/{old['id']}").status_code != 404:
            assert time.monotonic() < end
        assert other.get(f"/history/{new['id']}").status_code == 200
    store.close()


def test_disabled_history_returns_404_and_imports_no_database(tmp_path: Path) -> None:
    write_model(tmp_path)
    code = f"""
import sys
from pathlib import Path
from starlette.testclient import TestClient
from tests.fake_models import serve
from tests.images import encoded, seven

with serve(Path({str(tmp_path)!r}), history_open=True) as client:
    assert client.post("/classify", files={{"file": encoded(seven())}}).json()["stored"] is None
    response = client.get("/history")
    assert (response.status_code, response.json()["code"]) == (404, "history_off"), response.text
assert not {{"sqlalchemy", "alembic", "psycopg"}} & set(sys.modules)
"""
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, timeout=WAIT)
