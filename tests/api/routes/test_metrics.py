"""GET /metrics."""

import threading
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families
from starlette.testclient import TestClient

from backend.inference.runtimes.fake_runtime import FakeRuntime
from tests.fake_models import serve
from tests.images import encoded, seven

SEVEN = {"file": encoded(seven())}


def value(client: TestClient, name: str, **labels: str) -> float:
    families = text_string_to_metric_families(client.get("/metrics").text)
    return sum(
        sample.value
        for family in families
        for sample in family.samples
        if sample.name == name and labels.items() <= sample.labels.items()
    )


def test_classified_image_is_counted_by_model_and_route(
    client: TestClient,
) -> None:
    client.post("/classify", files=SEVEN)
    client.post("/classify/", files=SEVEN)
    labels = {"method": "POST", "route": "/classify", "model": "fake", "code": "200"}
    assert value(client, "prism_requests_total", **labels) == 2
    assert value(client, "prism_request_seconds_count", route="/classify") == 2
    assert value(client, "prism_images_admitted_total", model="fake") == 2
    assert value(client, "prism_images_answered_total", model="fake") == 2
    for stage in ("decode", "queue", "inference"):
        assert value(client, f"prism_{stage}_seconds_count", model="fake") == 2


def test_served_version_of_each_model_is_exposed(client: TestClient) -> None:
    assert value(client, "prism_model_info", model="fake") == 1


def test_failed_image_is_counted_by_code(client: TestClient) -> None:
    client.post("/classify", files={"file": b"hello"})
    assert value(client, "prism_images_failed_total", model="fake", code="unsupported_image") == 1
    assert value(client, "prism_requests_total", model="fake", code="415") == 1


def test_rejected_image_is_counted_as_shed(models_dir: Path) -> None:
    gate = threading.Event()
    gate.set()
    with serve(models_dir, FakeRuntime(10, gate=gate), queue_size=1, timeout=30) as client:
        client.post("/classify", files=SEVEN)
        gate.clear()
        waiting = threading.Thread(target=lambda: client.post("/classify", files=SEVEN))
        waiting.start()
        while value(client, "prism_images_admitted_total", model="fake") < 2:
            pass
        assert client.post("/classify", files=SEVEN).status_code == 429
        assert value(client, "prism_requests_in_flight") == 2  # the waiting one and this one
        gate.set()
        waiting.join()
        assert value(client, "prism_images_shed_total", reason="queue_full") == 1
        assert value(client, "prism_images_admitted_total", model="fake") == 2


@pytest.mark.parametrize("path", ["/nowhere", "/nowhere/else"])
def test_unknown_path_is_counted_as_other(client: TestClient, path: str) -> None:
    client.get(path)
    assert value(client, "prism_requests_total", route="other", model="", code="404") == 1


def test_unknown_model_adds_no_label_value(client: TestClient) -> None:
    client.post("/classify?model=cats", files=SEVEN)
    client.get("/models/cats")
    client.get("/models/fake")
    assert value(client, "prism_requests_total", model="", code="404") == 2
    assert value(client, "prism_requests_total", route="/models/{name}", model="fake") == 1
    assert "cats" not in client.get("/metrics").text


def test_raw_pixels_are_counted_for_digit_model(
    client: TestClient,
) -> None:
    client.post("/predict", json={"input": [[0] * 784]})
    assert value(client, "prism_requests_total", route="/predict", model="fake", code="200") == 1


def test_unexpected_error_is_counted_as_500(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("backend.api.routes.models.model_info", lambda _: 1 / 0)
    client.get("/models")
    assert value(client, "prism_requests_total", route="/models", code="500") == 1


def test_accept_header_selects_format(client: TestClient) -> None:
    response = client.get("/metrics")
    assert response.headers["content-type"].startswith("text/plain; version=0.0.4")
    accept = {"Accept": "application/openmetrics-text;version=1.0.0,text/plain;q=0.5"}
    response = client.get("/metrics", headers=accept)
    assert response.headers["content-type"].startswith("application/openmetrics-text")
    response = client.head("/metrics")
    assert (response.status_code, response.content) == (200, b"")


def test_metrics_are_documented_as_text(client: TestClient) -> None:
    operation = client.get("/openapi.json").json()["paths"]["/metrics"]["get"]
    assert set(operation["responses"]["200"]["content"]) == {"text/plain"}
    assert client.get("/").json()["links"]["metrics"] == "/metrics"
