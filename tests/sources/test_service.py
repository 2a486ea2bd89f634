"""The whole service on models from addresses."""

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
from tests.api.routes.test_models import wait
from tests.fake_models import serve, write_model
from tests.images import encoded, seven
from tests.sources.conftest import until
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
    wait(client)
    return {model["name"]: model for model in client.get("/models").json()["models"]}


def test_a_fetched_model_answers_under_the_name_the_operator_gave(
    models_dir: Path, server: FileServer
) -> None:
    with served(models_dir, f"photos={server.url}/fake") as client:
        assert states(client)["photos"]["state"] == "ready"
        assert client.get("/ready").status_code == 200
        answer = client.post("/classify", files={"file": encoded(seven())}).json()
        assert answer["model"]["name"] == "photos"


def test_models_that_cannot_be_fetched_leave_the_others_and_say_why_without_secrets(
    models_dir: Path, server: FileServer
) -> None:
    gone = server.url.replace("//", "//me:secret@") + "/absent?key=secret"
    models = f"gone={gone},local,photos={server.url}/fake,broken=./{models_dir.name}"
    with pytest.MonkeyPatch.context() as patched:
        patched.chdir(models_dir.parent)
        with served(models_dir, models, default_model="local") as client:
            found = states(client)
            assert client.get("/ready").status_code == 200
    assert {name: model["state"] for name, model in found.items()} == {
        "gone": "failed", "local": "ready", "photos": "ready", "broken": "failed",
    }  # fmt: skip
    assert found["gone"]["error"].startswith(f"{server.url}/absent: there is nothing")
    assert "secret" not in str(found)
    assert str(models_dir) not in str(found)


def test_nothing_waits_for_a_model_that_does_not_come(models_dir: Path, server: FileServer) -> None:
    server.stall("fake/model.onnx")
    models = f"slow={server.url}/fake,local"
    with served(models_dir, models, timeout=0.2) as client:
        assert server.stalled.wait(30)
        assert client.get("/health").status_code == 200
        until(lambda: client.get("/ready").status_code == 200)  # local, the first by name
        picture = {"file": encoded(seven())}
        assert client.post("/classify?model=local", files=picture).status_code == 200
        assert client.post("/classify?model=slow", files=picture).status_code == 503
        leaving = time.monotonic()
    # The end of the service was the end of the download.
    assert time.monotonic() - leaving < 10
    with served(models_dir, models, default_model="slow", timeout=0.2) as client:
        assert client.get("/ready").status_code == 503


def test_a_checkpoint_in_a_bucket_is_served_by_torch(
    models_dir: Path, bucket: storage.Bucket, checkpoint: Path
) -> None:
    bucket.blob("mnist_cnn.pt").upload_from_filename(str(checkpoint))
    settings = Settings(
        models_dir=models_dir,
        models="digits=gs://models/mnist_cnn.pt#mnist-net",
        data_dir=models_dir.parent / "data",
    )
    with TestClient(create_app(settings)) as client:
        (model,) = states(client).values()
        assert (model["state"], model["runtime"], model["name"]) == ("ready", "torch", "digits")
        pixels = torch.rand(1, 784) * 255
        answer = client.post("/predict", json={"input": pixels.round().tolist()}).json()
    network = networks.build("mnist-net").eval()
    network.load_state_dict(torch.load(checkpoint, weights_only=True))
    fields = (pixels.round().reshape(1, 1, 28, 28) / 255 - 0.1307) / 0.3081
    with torch.inference_mode():
        expected = network(fields).softmax(1)
    assert torch.allclose(torch.tensor(answer), expected, atol=1e-4)


def test_the_cache_is_kept_within_its_bound_once_all_are_loaded(
    models_dir: Path, server: FileServer, published: Path
) -> None:
    server.publish(published, "other")
    data = models_dir.parent / "data"
    kept: list[list[Path]] = []
    for name in ("fake", "other"):
        with served(models_dir, f"m={server.url}/{name}", cache_max_bytes=0) as client:
            assert states(client)["m"]["state"] == "ready"
            until(lambda: len(_graphs(data)) == 1)
        kept.append(_graphs(data))
    assert kept[0] != kept[1]


def _graphs(folder: Path) -> list[Path]:
    """Where graphs lie; what is removed meanwhile is no error."""
    return [Path(found) for found, _, files in os.walk(folder) if "model.onnx" in files]
