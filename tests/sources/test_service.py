"""The service with models from addresses."""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import google.cloud.storage as storage
import pytest
import torch
from starlette.testclient import TestClient

from backend.app import create_app
from backend.inference.models import networks
from backend.settings import Settings
from tests.api.routes.test_models import wait_until_loaded
from tests.fake_models import LOCALHOST, serve, write_model
from tests.images import encoded, seven
from tests.sources.conftest import wait_until, write_large_model
from tests.sources.fake_mlflow import ARTIFACTS, FakeMlflow
from tests.sources.file_server import FileServer


@pytest.fixture
def models_dir(tmp_path: Path) -> Path:
    write_model(tmp_path / "models", "local")
    return tmp_path / "models"


@contextmanager
def served(models_dir: Path, models: str, **settings: Any) -> Iterator[TestClient]:
    settings |= {"data_dir": models_dir.parent / "data", "allow_private_sources": True}
    with serve(models_dir, models=models, **settings) as client:
        yield client


def states(client: TestClient) -> dict[str, dict[str, Any]]:
    wait_until_loaded(client)
    return {model["name"]: model for model in client.get("/models").json()["models"]}


def test_downloaded_model_is_served_under_its_configured_name(
    models_dir: Path, server: FileServer
) -> None:
    with served(models_dir, f"photos={server.url}/fake") as client:
        assert states(client)["photos"]["state"] == "ready"
        assert client.get("/ready").status_code == 200
        response = client.post("/classify", files={"file": encoded(seven())}).json()
        assert response["model"]["name"] == "photos"


def test_failed_downloads_do_not_affect_other_models_and_are_redacted(
    models_dir: Path, server: FileServer
) -> None:
    missing = server.url.replace("//", "//me:secret@") + "/absent?key=secret"
    models = f"missing={missing},local,photos={server.url}/fake,broken=./{models_dir.name}"
    with pytest.MonkeyPatch.context() as patched:
        patched.chdir(models_dir.parent)
        with served(models_dir, models, default_model="local") as client:
            models_by_name = states(client)
            assert client.get("/ready").status_code == 200
    assert {name: model["state"] for name, model in models_by_name.items()} == {
        "missing": "failed", "local": "ready", "photos": "ready", "broken": "failed",
    }  # fmt: skip
    assert models_by_name["missing"]["error"].startswith(f"{server.url}/absent: not found")
    assert "secret" not in str(models_by_name)
    assert str(models_dir) not in str(models_by_name)


def test_stalled_download_blocks_nothing(models_dir: Path, server: FileServer) -> None:
    server.stall("fake/model.onnx")
    models = f"slow={server.url}/fake,local"
    with served(models_dir, models, timeout=0.2) as client:
        assert server.stalled.wait(30)
        assert client.get("/health").status_code == 200
        wait_until(lambda: client.get("/ready").status_code == 200)  # local, the first by name
        files = {"file": encoded(seven())}
        assert client.post("/classify?model=local", files=files).status_code == 200
        assert client.post("/classify?model=slow", files=files).status_code == 503
        closing_time = time.monotonic()
    # Shutdown ends the download.
    assert time.monotonic() - closing_time < 10
    with served(models_dir, models, default_model="slow", timeout=0.2) as client:
        assert client.get("/ready").status_code == 503


def test_checkpoint_in_a_bucket_is_served_with_torch(
    models_dir: Path, bucket: storage.Bucket, checkpoint: Path
) -> None:
    bucket.blob("mnist_cnn.pt").upload_from_filename(str(checkpoint))
    settings = Settings(
        models_dir=models_dir,
        models="digits=gs://models/mnist_cnn.pt#mnist-net",
        data_dir=models_dir.parent / "data",
    )
    with TestClient(create_app(settings), base_url=LOCALHOST) as client:
        (model,) = states(client).values()
        assert (model["state"], model["runtime"], model["name"]) == ("ready", "torch", "digits")
        pixels = torch.rand(1, 784) * 255
        response = client.post("/predict", json={"input": pixels.round().tolist()}).json()
    network = networks.build("mnist-net").eval()
    network.load_state_dict(torch.load(checkpoint, weights_only=True))
    fields = (pixels.round().reshape(1, 1, 28, 28) / 255 - 0.1307) / 0.3081
    with torch.inference_mode():
        expected = network(fields).softmax(1)
    assert torch.allclose(torch.tensor(response), expected, atol=1e-4)


def test_cache_is_trimmed_once_all_models_are_loaded(
    models_dir: Path, server: FileServer, published: Path
) -> None:
    server.publish(published, "other")
    data = models_dir.parent / "data"
    copies: list[list[Path]] = []
    for name in ("fake", "other"):
        with served(models_dir, f"m={server.url}/{name}", cache_max_bytes=0) as client:
            assert states(client)["m"]["state"] == "ready"
            wait_until(lambda: len(_networks(data)) == 1)
        copies.append(_networks(data))
    assert copies[0] != copies[1]


def _networks(folder: Path) -> list[Path]:
    """Return the folders with a network; unlike rglob, os.walk ignores concurrent removals."""
    return [Path(path) for path, _, files in os.walk(folder) if "model.onnx" in files]


@pytest.mark.parametrize("is_valid", [True, False])
def test_moved_alias_replaces_the_model_without_failed_requests(
    models_dir: Path,
    server: FileServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    is_valid: bool,
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server.url)
    mlflow = FakeMlflow(server)
    mlflow.log_model(write_large_model(tmp_path / "1"), "champion")
    address = "pets=mlflow:models:/pets@champion"
    with served(models_dir, address, source_poll=0.1, cache_max_bytes=0) as client:
        assert states(client)["pets"]["version"] == "1"
        mlflow.log_model(write_large_model(tmp_path / "2", version="2"), "champion")
        damaged = f"{ARTIFACTS}/1/2/model.onnx"
        if not is_valid:
            mlflow.server.files[damaged] = b"damaged"
        versions = []

        def classify() -> bool:
            response = client.post("/classify", files={"file": encoded(seven())})
            assert response.status_code == 200
            versions.append(response.json()["model"]["version"])
            downloaded = any(path == damaged for path in mlflow.server.paths)
            return versions[-1] == "2" if is_valid else downloaded and len(versions) > 20

        wait_until(classify)
        assert states(client)["pets"]["state"] == "ready"
        if is_valid:  # the replaced network is closed, and its copy removed
            wait_until(lambda: len(_networks(models_dir.parent / "data")) == 1)
    assert versions[0] == "1"
    assert versions[-1] == ("2" if is_valid else "1")
