"""Models that are loaded when they are first asked for."""

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from backend.app import create_app
from backend.inference import auto
from backend.inference.classifier import Classifier
from backend.inference.errors import ArtifactError
from backend.inference.models.artifact import Artifact
from backend.inference.runtimes import Runtime
from backend.inference.runtimes.fake_runtime import FakeRuntime
from tests.api.problems import problem
from tests.fake_models import DIGITS, LOCALHOST, settings_for, write_model
from tests.images import encoded, seven
from tests.inference.helpers import TIMEOUT

SEVEN = encoded(seven())
FILES = {"file": SEVEN}


class Loader:
    """Loads fake networks and records which; `gate` blocks it, `broken` models fail."""

    def __init__(self, broken: str = "") -> None:
        self.loaded: list[str] = []
        self.gate = threading.Event()
        self.gate.set()
        self._broken = broken

    def __call__(self, model: Artifact, *_: object, **__: object) -> Runtime:
        """Return a network for `model`."""
        name = model.manifest.name
        self.loaded.append(name)
        assert self.gate.wait(TIMEOUT)
        if name == self._broken:
            raise ArtifactError(f"{model.folder}: the network is damaged")
        return FakeRuntime(len(model.manifest.labels))


@pytest.fixture
def models_dir(tmp_path: Path) -> Path:
    for name in ("ant", "bee", "cat"):
        write_model(tmp_path / "models", name)
    return tmp_path / "models"


def serve(models_dir: Path, loader: Loader, **settings: Any) -> TestClient:
    settings = {"default_model": "bee"} | settings
    app = create_app(settings_for(models_dir, **settings), loader)
    return TestClient(app, LOCALHOST, raise_server_exceptions=False)


def models_of(client: TestClient) -> dict[str, dict[str, Any]]:
    """Return the served models by name, once none is loading at startup."""
    end = time.monotonic() + TIMEOUT
    while time.monotonic() < end:
        models = client.get("/models").json()["models"]
        if all(model["state"] != "loading" for model in models):
            return {model["name"]: model for model in models}
    raise TimeoutError


@pytest.fixture
def client(models_dir: Path) -> Iterator[TestClient]:
    with serve(models_dir, Loader()) as client:
        yield client


def test_only_the_default_model_is_loaded_at_startup(client: TestClient) -> None:
    models = models_of(client)
    assert client.get("/ready").status_code == 200
    assert {name: model["loaded"] for name, model in models.items()} == {
        "ant": False,
        "bee": True,
        "cat": False,
    }


def test_model_that_is_not_loaded_is_described(client: TestClient) -> None:
    model = models_of(client)["ant"]
    assert (model["state"], model["runtime"], model["labels"]) == ("ready", None, list(DIGITS))
    detail = client.get("/models/ant").json()
    assert (detail["loaded"], detail["plan"]) == (False, None)


@pytest.mark.parametrize("path", ["/classify", "/predict", "/classify/batch"])
def test_model_is_loaded_by_its_first_request(client: TestClient, path: str) -> None:
    models_of(client)
    assert client.post(f"{path}?model=ant", files=FILES).status_code == 200
    models = models_of(client)
    assert (models["ant"]["loaded"], models["ant"]["runtime"]) == (True, "fake")
    assert not models["cat"]["loaded"]


def test_preload_loads_every_model(models_dir: Path) -> None:
    loader = Loader()
    with serve(models_dir, loader, preload=True) as client:
        assert all(model["loaded"] for model in models_of(client).values())
    assert loader.loaded == ["bee", "ant", "cat"]


def test_first_model_of_auto_is_loaded_at_startup(models_dir: Path) -> None:
    with serve(models_dir, Loader(), auto_models="cat,ant", default_model="") as client:
        models = models_of(client)
        assert [name for name, model in models.items() if model["loaded"]] == ["cat"]
        auto = client.get("/models/auto").json()
        assert (auto["state"], auto["loaded"]) == ("ready", False)
        assert client.get("/ready").status_code == 200


def test_concurrent_requests_load_a_model_once(models_dir: Path) -> None:
    loader = Loader()
    with serve(models_dir, loader, timeout=TIMEOUT) as client, ThreadPoolExecutor() as threads:
        models_of(client)
        loader.gate.clear()
        requests = [
            threads.submit(client.post, "/classify?model=ant", files=FILES) for _ in range(5)
        ]
        threading.Timer(0.2, loader.gate.set).start()
        assert [request.result().status_code for request in requests] == [200] * 5
    assert loader.loaded.count("ant") == 1


def test_request_waits_at_most_until_its_deadline_and_loading_continues(models_dir: Path) -> None:
    loader = Loader()
    with serve(models_dir, loader) as client:
        models_of(client)
        loader.gate.clear()
        started = time.monotonic()
        headers = {"X-Request-Timeout": "0.1"}
        response = client.post("/classify?model=ant", files=FILES, headers=headers)
        problem(response, 503, "not_ready")
        assert "still loading" in response.text
        assert time.monotonic() - started < TIMEOUT
        # Meanwhile the service answers, also with another model.
        assert client.get("/ready").status_code == 200
        assert client.post("/classify", files=FILES).status_code == 200
        loader.gate.set()
        assert client.post("/classify?model=ant", files=FILES).status_code == 200
    assert loader.loaded.count("ant") == 1


def test_loading_takes_no_time_from_the_images_of_a_batch(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    classify, limits = auto.classify, []

    async def record(models: Any, data: bytes, time_limit: float, owner: str) -> Any:
        limits.append(time_limit)
        return await classify(models, data, time_limit, owner)

    monkeypatch.setattr(auto, "classify", record)
    models_of(client)
    headers = {"X-Request-Timeout": "2"}
    client.post("/classify/batch?model=ant", files=FILES, headers=headers)
    assert limits == [2]


def test_network_that_cannot_be_loaded_fails_alone_with_its_reason(models_dir: Path) -> None:
    loader = Loader(broken="ant")
    with serve(models_dir, loader) as client:
        assert models_of(client)["ant"]["state"] == "ready"
        for _ in range(2):
            problem(client.post("/classify?model=ant", files=FILES), 503, "not_ready")
        model = models_of(client)["ant"]
        assert (model["state"], model["error"]) == ("failed", "ant: the network is damaged")
        assert client.get("/ready").status_code == 200
        assert client.post("/classify", files=FILES).status_code == 200
    assert loader.loaded.count("ant") == 1


def test_shutdown_waits_for_a_network_that_loads(models_dir: Path) -> None:
    loader = Loader()
    with serve(models_dir, loader) as client:
        models_of(client)
        loader.gate.clear()
        headers = {"X-Request-Timeout": "0.05"}
        client.post("/classify?model=ant", files=FILES, headers=headers)
        threading.Timer(0.1, loader.gate.set).start()
    names = [thread.name for thread in threading.enumerate()]
    assert not [name for name in names if "ant" in name]


def test_loading_time_counts_towards_the_deadline(
    models_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    limits: list[float] = []
    classify = Classifier.classify

    async def recording(self: Classifier, data: Any, limit: float, client: str) -> Any:
        limits.append(limit)
        return await classify(self, data, limit, client)

    monkeypatch.setattr(Classifier, "classify", recording)
    loader = Loader()
    with serve(models_dir, loader, timeout=TIMEOUT) as client:
        models_of(client)
        loader.gate.clear()
        threading.Timer(0.2, loader.gate.set).start()
        assert client.post("/classify?model=ant", files=FILES).status_code == 200
    assert limits[0] <= TIMEOUT - 0.15
