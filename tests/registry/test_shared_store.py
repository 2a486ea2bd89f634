"""Two services with one bucket, which fails for a while or is emptied."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from tests.api.problems import problem
from tests.api.routes.test_registry import GREEN, RED, classify, serve
from tests.fake_models import write_model
from tests.inference.heads import write_backbone
from tests.inference.helpers import TIMEOUT
from tests.registry.fake_bucket import FakeBucket, serve_bucket
from tests.registry.heads import form, manifest
from tests.sources.conftest import wait_until

Put = Callable[..., Any]


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeBucket]:
    with serve_bucket() as server:
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", server.url)
        monkeypatch.setattr("backend.registry.bucket._DELAY", 0.001)
        monkeypatch.setattr("backend.taught_models._RETRY_SECONDS", 0.2)
        yield server


@pytest.fixture
def models_dir(tmp_path: Path) -> Path:
    write_backbone(tmp_path / "models")
    write_model(tmp_path / "models")
    return tmp_path / "models"


@pytest.fixture
def services(bucket: FakeBucket, models_dir: Path, tmp_path: Path) -> Iterator[list[TestClient]]:
    with ExitStack() as stack:
        clients = [
            stack.enter_context(
                serve(models_dir, data_dir=tmp_path / name, model_store="gs://models/taught")
            )
            for name in ("first", "second")
        ]
        for client in clients:
            # FastAPI prepares all routes now, in one thread: it ignores warnings meanwhile.
            client.get("/openapi.json")
        yield clients


@pytest.fixture
def put(models_dir: Path) -> Put:
    def upload(client: TestClient, *labels: str) -> Any:
        document = manifest(models_dir, **({"labels": labels} if labels else {}))
        return client.put("/models/colors", files=form(document))

    return upload


def version(client: TestClient) -> str | None:
    response = client.post("/classify?model=colors", files={"file": RED})
    return str(response.json()["model"]["version"]) if response.status_code == 200 else None


def test_change_by_one_service_is_served_by_the_other(services: list[TestClient], put: Put) -> None:
    first, second = services
    assert put(first).json()["version"] == 1
    wait_until(lambda: version(second) == "1", TIMEOUT)
    assert put(second, "rouge", "vert").json()["version"] == 2
    wait_until(lambda: version(first) == "2", TIMEOUT)
    assert classify(first, "colors", GREEN)["prediction"] == "vert"
    assert first.post("/models/colors/versions/1/activate").status_code == 200
    wait_until(lambda: version(second) == "1", TIMEOUT)


def test_concurrent_uploads_to_both_services_lose_no_version(
    services: list[TestClient], put: Put
) -> None:
    with ThreadPoolExecutor() as threads:
        responses = list(threads.map(put, 3 * services))
    assert sorted(each.json()["version"] for each in responses) == [1, 2, 3, 4, 5, 6]
    listed = services[0].get("/models/colors/versions").json()["versions"]
    assert len(listed) == 6


def test_models_stay_in_service_while_the_bucket_is_unreachable(
    services: list[TestClient], put: Put, bucket: FakeBucket
) -> None:
    first, second = services
    put(first)
    wait_until(lambda: version(second) == "1", TIMEOUT)
    bucket.is_down = True
    detail = problem(put(second), 503, "store_unavailable")["detail"]
    assert "unreachable" in detail
    problem(second.post("/models/colors/versions/1/activate"), 503, "store_unavailable")
    assert version(first) == version(second) == "1"
    bucket.is_down = False
    assert put(second).json()["version"] == 2
    wait_until(lambda: version(first) == "2", TIMEOUT)


def test_models_stay_in_service_if_the_bucket_is_emptied(
    services: list[TestClient], put: Put, bucket: FakeBucket, caplog: pytest.LogCaptureFixture
) -> None:
    first, second = services
    put(first)
    wait_until(lambda: version(second) == "1", TIMEOUT)
    bucket.objects.clear()
    wait_until(lambda: "The index of the model store is missing" in caplog.text, TIMEOUT)
    assert version(first) == version(second) == "1"
    assert put(first, "rouge", "vert").json()["version"] == 1
    wait_until(lambda: classify(second, "colors")["prediction"] == "rouge", TIMEOUT)
