"""GET /history/drift, and the gauges of the drift."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient
from ulid import ULID

from backend.history.drift import THRESHOLD
from backend.history.store import Store
from backend.inference.runtimes.fake_runtime import FakeRuntime
from tests.api.problems import problem
from tests.api.routes.test_history import SEVEN, classify, wait_until_open
from tests.api.routes.test_metrics import value
from tests.fake_models import CALIBRATION, serve, write_model
from tests.history.records import make_record
from tests.history.test_drift import records

NOW = datetime.now(UTC)


@pytest.fixture
def client(tmp_path: Path) -> Iterator[TestClient]:
    """A client of a calibrated model that always predicts 7, with a history in `tmp_path`."""
    write_model(tmp_path / "models", calibration=CALIBRATION, metrics={"test_accuracy": 0.9})
    runtime = FakeRuntime(10, winner=lambda _: 7)
    settings: dict[str, Any] = {"history": True, "history_open": True, "data_dir": tmp_path}
    with serve(tmp_path / "models", runtime, **settings) as client:
        wait_until_open(client)
        yield client


def store_drift(folder: Path) -> None:
    """Store 700 images, the last of them now, of which the last 200 have changed."""
    stored = [*records(500), *records(200, 500, changed=0.5)]
    for number, one in enumerate(stored):
        one["time"] = NOW - timedelta(minutes=len(stored) - number)
        one["id"] = str(ULID.from_datetime(one["time"]))
    store = Store("", folder)
    assert store.add(stored) == set()
    store.close()


def test_change_is_reported_with_reference_and_calibration(
    client: TestClient, tmp_path: Path
) -> None:
    store_drift(tmp_path)
    report = client.get("/history/drift?model=fake").json()
    assert (report["model"], report["version"], report["alert"]) == ("fake", "1", True)
    assert (report["images"], report["reference_images"]) == (700, 500)
    assert report["threshold"] == pytest.approx(THRESHOLD)
    statistics = {one["name"]: one for one in report["statistics"]}
    confidence = statistics["confidence"]
    assert confidence["alert"]
    assert confidence["evidence"] >= THRESHOLD
    assert confidence["value"] < confidence["reference"]
    assert confidence["calibration"] == 0.9
    assert confidence["since"].endswith("Z")
    assert statistics["set_size"]["calibration"] == CALIBRATION["mean_set_size"]["0.95"]
    assert statistics["error_rate"]["calibration"] == pytest.approx(0.1)
    assert statistics["error_rate"]["value"] is None
    assert report["labels"][0]["label"] == "3"
    assert sum(day["images"] for day in report["days"]) == 700


def test_size_and_brightness_of_classified_images_are_known(client: TestClient) -> None:
    classify(client)
    client.post("/classify/batch", files={"file": SEVEN})
    (day,) = client.get("/history/drift?model=fake").json()["days"]
    assert day["images"] == 2
    assert day["pixels"] > 100
    assert 0 < day["brightness"] < 1


def test_days_are_limited_by_since_and_until(client: TestClient) -> None:
    classify(client)
    path = "/history/drift?model=fake@1"
    assert len(client.get(path).json()["days"]) == 1
    assert client.get(f"{path}&since=2100-01-01").json()["days"] == []
    before = client.get(f"{path}&until=2020-01-01").json()
    assert (before["images"], before["days"]) == (0, [])
    assert client.get(f"{path}&until=0001-01-01").status_code == 200


def test_model_without_classifications_has_an_empty_report(client: TestClient) -> None:
    report = client.get("/history/drift?model=fake").json()
    assert (report["images"], report["version"], report["alert"]) == (0, "1", False)


def test_invalid_queries_are_rejected(client: TestClient) -> None:
    problem(client.get("/history/drift?model=unknown"), 404, "unknown_model")
    assert client.get("/history/drift").status_code == 422
    assert client.get("/history/drift?model=fake&since=yesterday").status_code == 422
    assert client.get("/history/drift?model=fake&time_zone=Mars").status_code == 422
    assert client.get(f"/history/drift?model={'x' * 101}").status_code == 422


def test_auto_names_the_models_that_it_asks(client: TestClient) -> None:
    found = problem(client.get("/history/drift?model=auto"), 404, "unknown_model")
    assert (
        found["detail"]
        == "auto is not a model: the drift is that of the models that it asks, fake."
    )


def test_latest_is_the_served_version_of_a_model_of_the_operator(client: TestClient) -> None:
    classify(client)
    report = client.get("/history/drift?model=fake@latest").json()
    assert (report["version"], report["images"]) == ("1", 1)


def test_served_version_is_compared_and_not_that_of_the_newest_image(
    client: TestClient, tmp_path: Path
) -> None:
    """As after a roll back, or while another version is tried."""
    classify(client)
    store = Store("", tmp_path)
    store.add([make_record(NOW + timedelta(seconds=9), model={"name": "fake", "version": "2"})])
    store.close()
    assert client.get("/history/drift?model=fake").json()["version"] == "1"
    assert client.get("/history/drift?model=fake@2").json()["images"] == 1


def test_drift_needs_the_history(tmp_path: Path) -> None:
    write_model(tmp_path / "models")
    with serve(tmp_path / "models", FakeRuntime(10), history=False, history_open=True) as client:
        assert client.get("/history/drift?model=fake").status_code == 404


def test_gauges_have_the_state_of_the_model(client: TestClient, tmp_path: Path) -> None:
    store_drift(tmp_path)
    assert "prism_drift_alert{" not in client.get("/metrics").text
    client.app_state["drift_monitor"].wait()
    assert value(client, "prism_drift_alert", model="fake") == 1
    labels = {"model": "fake", "statistic": "confidence"}
    assert value(client, "prism_drift_evidence", **labels) >= THRESHOLD
    assert value(client, "prism_drift_value", **labels) < value(
        client, "prism_drift_reference", **labels
    )
