"""GET /health, GET /ready and GET /."""

import re
import threading
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from backend import __version__
from backend.app import create_app
from backend.catalog import Catalog
from backend.inference.models.artifact import Artifact
from backend.inference.runtimes import Runtime
from backend.inference.runtimes.fake_runtime import FakeRuntime
from tests.api.problems import problem
from tests.fake_models import LOCALHOST, serve, settings_for
from tests.images import encoded, seven


def test_health_returns_200_while_model_loads_and_ready_503(models_dir: Path) -> None:
    gate = threading.Event()

    def slow_load(_: Artifact, *__: object, **___: object) -> Runtime:
        gate.wait()
        return FakeRuntime(10)

    app = create_app(settings_for(models_dir, timeout=0.1), slow_load)
    with TestClient(app, base_url=LOCALHOST) as client:
        try:
            assert client.get("/health").json() == {"status": "ok"}
            response = client.get("/ready")
            problem(response, 503, "not_ready")
            assert response.headers["retry-after"] == "1"
            assert client.get("/models").json()["models"][0]["state"] == "loading"
            image = {"file": encoded(seven())}
            problem(client.post("/classify", files=image), 503, "not_ready")
        finally:
            gate.set()
        assert client.post("/classify", files=image).status_code in {200, 503}
        while client.get("/ready").status_code != 200:
            pass
        assert client.get("/ready").json() == {"status": "ready"}


def test_unexpected_error_while_loading_is_logged_and_service_stays_up(
    models_dir: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def fail(_: Catalog) -> None:
        raise RuntimeError("secret")

    monkeypatch.setattr(Catalog, "start", fail)
    with serve(models_dir) as client:
        while "failed to start" not in (response := client.get("/ready")).text:
            pass
        problem(response, 503, "not_ready")
        assert "secret" not in response.text
        assert client.get("/health").status_code == 200
        assert client.get("/models").json()["models"][0]["state"] == "failed"
        problem(client.post("/classify", files={"file": encoded(seven())}), 503, "not_ready")
    (record,) = [one for one in caplog.records if one.name == "prism.app"]
    assert record.exc_info


def test_unexpected_error_after_loading_is_logged_and_model_stays_usable(
    models_dir: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def fail(*_: object) -> None:
        raise RuntimeError

    monkeypatch.setattr(Catalog, "measure", fail)
    with serve(models_dir, measure=True) as client:
        while "failed to start" not in client.get("/ready").text:
            pass
        assert client.post("/classify", files={"file": encoded(seven())}).status_code == 200
    assert "prism.app" in {record.name for record in caplog.records if record.exc_info}


def test_root_returns_version_and_working_links(client: TestClient) -> None:
    info = client.get("/").json()
    assert (info["name"], info["version"]) == ("Prism", __version__)
    for name in ("docs", "openapi", "models", "health", "ready", "metrics"):
        assert client.get(info["links"][name]).status_code == 200


@pytest.mark.parametrize("path", ["/", "/health", "/ready"])
def test_head_requests_return_200(client: TestClient, path: str) -> None:
    while client.get("/ready").status_code != 200:
        pass
    response = client.head(path)
    assert (response.status_code, response.content) == (200, b"")


def test_openapi_describes_request_and_responses(client: TestClient) -> None:
    schema = client.get("/openapi.json").json()
    post = schema["paths"]["/classify"]["post"]
    assert {"multipart/form-data", "image/*"} <= set(post["requestBody"]["content"])
    assert "example" in schema["components"]["schemas"]["Classification"]
    statuses = {"200", "400", "404", "408", "413", "415", "422", "429", "500", "503", "504"}
    assert statuses <= set(post["responses"])
    assert "application/problem+json" in post["responses"]["415"]["content"]


def test_references_in_openapi_are_valid(client: TestClient) -> None:
    text = client.get("/openapi.json").text
    schemas = client.get("/openapi.json").json()["components"]["schemas"]
    references = set(re.findall(r'"\$ref":"([^"]+)"', text))
    assert references
    assert references <= {f"#/components/schemas/{name}" for name in schemas}


def test_health_returns_503_while_decoders_do_not_return(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader = client.app_state["image_reader"]
    monkeypatch.setattr(reader, "_started", {1: -1e9})
    assert client.get("/health").status_code == 200
    monkeypatch.setattr(reader, "_started", {1: -1e9, 2: -1e9})
    response = client.get("/health")
    assert (response.status_code, response.json()["code"]) == (503, "stuck")
