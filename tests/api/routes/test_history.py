"""The history over HTTP: what was answered is found, corrected, exported and forgotten."""

import csv
import hashlib
import io
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from starlette.testclient import TestClient

from backend.inference.runtimes.fake_runtime import FakeRuntime
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
    """Tests may change it."""
    return {"history": True, "history_open": True}


@pytest.fixture
def client(tmp_path: Path, settings: dict[str, Any]) -> Iterator[TestClient]:
    """A client of a calibrated model that always answers 7, and remembers."""
    write_model(tmp_path / "models", calibration=CALIBRATION)
    runtime = FakeRuntime(10, winner=lambda _: 7)
    with serve(tmp_path / "models", runtime, **settings) as client:
        wait_until_open(client)
        yield client


def classify(client: TestClient, name: str = "seven.png", query: str = "") -> dict[str, Any]:
    answer: dict[str, Any] = client.post(f"/classify{query}", files={"file": (name, SEVEN)}).json()
    assert answer["stored"] is True
    return answer


def listed(client: TestClient, query: str = "") -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = client.get(f"/history{query}").json()["answers"]
    return found


def test_an_answer_is_remembered_as_it_was_given(client: TestClient) -> None:
    answer = classify(client)
    (kept,) = listed(client)
    assert kept == client.get(f"/history/{answer['id']}").json()
    same = ("id", "filename", "model", "prediction", "prediction_set", "coverage")
    for name in (*same, "in_distribution", "ood_score", "timings_ms"):
        assert kept[name] == answer[name]
    assert kept["confidence"] == pytest.approx(answer["confidence"])
    assert [one["label"] for one in kept["top"]] == [one["label"] for one in answer["top"]]
    assert kept["sha256"] == hashlib.sha256(SEVEN).hexdigest()
    assert (kept["image"], kept["correction"], kept["corrected_at"]) == (False, None, None)
    given = datetime.fromisoformat(kept["time"])
    assert timedelta(0) <= datetime.now(UTC) - given < timedelta(minutes=1)
    assert kept["time"].endswith("Z")


def test_every_good_line_of_a_batch_is_remembered(client: TestClient) -> None:
    files = [("file", (f"{n}.png", SEVEN)) for n in range(20)] + [("file", ("bad.png", b"no"))]
    lines = client.post("/classify/batch", files=files).text.splitlines()
    answers = [json.loads(line) for line in lines[:-1]]
    assert all(answer["stored"] is True for answer in answers)
    assert {one["id"] for one in listed(client)} == {answer["id"] for answer in answers}


def test_the_answer_to_a_picture_at_predict_is_remembered(client: TestClient) -> None:
    assert client.post("/predict", files={"image": SEVEN}).json()["stored"] is True
    assert len(listed(client)) == 1


def test_what_is_not_to_be_kept_is_not(client: TestClient) -> None:
    answer = client.post("/classify?store=false", files={"file": SEVEN}).json()
    assert answer["stored"] is None
    line = client.post("/classify/batch?store=false", files={"file": SEVEN}).json()
    assert line["stored"] is None
    assert listed(client) == []


def test_ten_of_many_probabilities_are_enough(client: TestClient) -> None:
    classify(client, query="?top_k=3")
    assert len(listed(client)[0]["top"]) == 3


def test_pages_follow_each_other_by_their_cursor(client: TestClient) -> None:
    ids = [classify(client, f"{n}.png")["id"] for n in range(5)]
    found: list[str] = []
    query = "?limit=2"
    while True:
        page = client.get(f"/history{query}").json()
        found += [one["id"] for one in page["answers"]]
        if page["next"] is None:
            break
        query = f"?limit=2&cursor={page['next']}"
    assert found == sorted(ids, reverse=True)


@pytest.mark.parametrize(
    ("query", "count"),
    [
        *[("?model=fake", 1), ("?model=other", 0), ("?label=7", 1), ("?label=%00", 0)],
        *[("?corrected=true", 0), ("?corrected=false", 1), ("?in_distribution=true", 1)],
        *[("?in_distribution=false", 0), ("?since=2020-01-01", 1), ("?until=2020-01-01", 0)],
        *[("?since=2020-01-01T00:00:00%2B05:00", 1), ("?until=9999-12-31T23:59:59-12:00", 1)],
        *[("?since=0001-01-01", 1)],
    ],
)
def test_the_list_is_filtered(client: TestClient, query: str, count: int) -> None:
    classify(client)
    assert len(listed(client, query)) == count
    assert len(client.get(f"/history/export{query}").text.splitlines()) == count


@pytest.mark.parametrize(
    "query",
    ["?limit=0", "?limit=501", "?cursor=x", "?since=yesterday", "?corrected=maybe", "?limit=a"],
)
def test_a_parameter_out_of_range_is_refused(client: TestClient, query: str) -> None:
    problem(client.get(f"/history{query}"), 422, "invalid_parameter")


def test_a_correction_is_kept_counted_and_taken_back(client: TestClient) -> None:
    wrong, right, _ = (classify(client)["id"] for _ in range(3))
    corrected = client.patch(f"/history/{wrong}", json={"correction": "1"}).json()
    assert (corrected["correction"], corrected["corrected_at"][-1]) == ("1", "Z")
    client.patch(f"/history/{right}", json={"correction": "7"})
    counted = client.get("/history/accuracy").json()
    day = datetime.now(UTC).date().isoformat()
    same = {"confirmed": 1, "corrected": 1, "accuracy": 0.5}
    assert counted == same | {"days": [same | {"day": day}]}
    client.patch(f"/history/{wrong}", json={"correction": None})
    assert client.get("/history/accuracy").json()["accuracy"] == 1
    assert client.get(f"/history/{wrong}").json()["corrected_at"] is None


def test_no_correction_is_no_accuracy(client: TestClient) -> None:
    empty: dict[str, Any] = {"confirmed": 0, "corrected": 0, "accuracy": None, "days": []}
    assert client.get("/history/accuracy").json() == empty


def test_a_correction_has_to_be_a_label(client: TestClient) -> None:
    path = f"/history/{classify(client)['id']}"
    problem(client.patch(path, json={"correction": "cat"}), 422, "unknown_label")
    assert client.get(path).json()["correction"] is None


@pytest.mark.parametrize(
    "body",
    [b"", b"{}", b"7", b'{"correction": 7}', b'{"correction": "7", "more": 1}', b"\xff",
     b'{"correction": "\\u0000"}', b'{"correction": "' + 501 * b"7" + b'"}'],
)  # fmt: skip
def test_a_malformed_correction_is_refused(client: TestClient, body: bytes) -> None:
    path = f"/history/{classify(client)['id']}"
    problem(client.patch(path, content=body), 422, "invalid_parameter")
    assert client.get(path).json()["correction"] is None


def test_a_correction_of_endless_length_is_refused(client: TestClient) -> None:
    body = b'{"correction": "' + 20_000 * b"7" + b'"}'
    problem(client.patch(f"/history/{'0' * 26}", content=body), 413, "body_too_large")


@pytest.mark.parametrize("answer_id", ["0" * 26, "x", "%00", "..%2fx"])
def test_an_unknown_answer_is_told_so(client: TestClient, answer_id: str) -> None:
    path = f"/history/{answer_id}"
    answers = [client.get(path), client.delete(path), client.patch(path, json={"correction": "7"})]
    for answer in [*answers, client.get(f"{path}/image")]:
        assert answer.status_code == 404
        assert answer.json()["code"] in {"unknown_answer", "not_found"}


def test_one_or_all_are_forgotten(client: TestClient) -> None:
    first, *_ = (classify(client)["id"] for _ in range(3))
    assert client.delete(f"/history/{first}").status_code == 204
    problem(client.get(f"/history/{first}"), 404, "unknown_answer")
    time.sleep(0.002)  # of the same millisecond some might be later
    assert client.delete("/history").json() == {"deleted": 2}
    assert listed(client) == []


def test_the_table_is_one_for_spreadsheets(client: TestClient) -> None:
    names = ["a,b.png", '=HYPERLINK("x")', "two\nlines.png"]
    for name in names[:2]:
        classify(client, name)
    answer = client.get("/history/export?format=csv")
    assert answer.headers["content-type"].startswith("text/csv")
    assert "history.csv" in answer.headers["content-disposition"]
    newest, oldest = csv.DictReader(io.StringIO(answer.text))
    assert oldest["filename"] == "a,b.png"
    assert newest["filename"].startswith("'=")
    assert newest["prediction"] == "7"
    assert json.loads(newest["top"])[0]["index"] == 7
    assert newest["in_distribution"] == "true"
    assert float(newest["decode_ms"]) >= 0


def test_the_export_has_what_the_list_has(client: TestClient) -> None:
    for _ in range(3):
        classify(client)
    lines = client.get("/history/export").text.splitlines()
    assert [json.loads(line) for line in lines] == listed(client)
    assert client.get("/history/export?format=csv&label=1").text.count("\n") == 1


def test_pictures_are_kept_small_and_only_on_demand(tmp_path: Path, client: TestClient) -> None:
    problem(client.get(f"/history/{classify(client)['id']}/image"), 404, "no_image")
    write_model(tmp_path / "more")
    with serve(tmp_path / "more", history=True, history_open=True, history_images=True) as other:
        wait_until_open(other)
        photo = encoded(noise(900, 600), "JPEG")
        answer = other.post("/classify", files={"file": photo}).json()
        assert answer["stored"] is True
        assert other.get(f"/history/{answer['id']}").json()["image"] is True
        picture = other.get(f"/history/{answer['id']}/image")
    assert picture.headers["content-type"] == "image/webp"
    assert Image.open(io.BytesIO(picture.content)).size == (256, 171)


def test_what_is_too_old_is_forgotten(tmp_path: Path, client: TestClient) -> None:
    """The client's backend has kept for 30 days; another one finds its database."""
    from backend.history.store import Store
    from tests.history.records import make_record

    store = Store("", tmp_path / "data")
    old, new = make_record(datetime.now(UTC) - timedelta(days=31)), make_record(datetime.now(UTC))
    store.add([old, new])
    with serve(tmp_path / "models", history=True, history_open=True) as other:
        wait_until_open(other)
        end = time.monotonic() + WAIT
        while other.get(f"/history/{old['id']}").status_code != 404:
            assert time.monotonic() < end
        assert other.get(f"/history/{new['id']}").status_code == 200
    store.close()


def test_without_history_there_is_none_and_nothing_is_imported(tmp_path: Path) -> None:
    write_model(tmp_path)
    code = f"""
import sys
from pathlib import Path
from starlette.testclient import TestClient
from tests.fake_models import serve
from tests.pictures import encoded, seven

with serve(Path({str(tmp_path)!r}), history_open=True) as client:
    assert client.post("/classify", files={{"file": encoded(seven())}}).json()["stored"] is None
    answer = client.get("/history")
    assert (answer.status_code, answer.json()["code"]) == (404, "history_off"), answer.text
assert not {{"sqlalchemy", "alembic", "psycopg"}} & set(sys.modules)
"""
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, timeout=WAIT)
