"""A model from a real MLflow server, and a check of the fake of Weights & Biases."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import mlflow
import pytest

from backend.inference.errors import SourceError
from backend.inference.models import artifact
from backend.sources.address import parse_address
from backend.sources.fetch import FetchRequest, current_version, fetch
from tests.api.routes.test_models import wait_until_loaded
from tests.e2e.tracking_servers import MlflowServer
from tests.fake_models import serve
from tests.images import encoded, seven
from tests.sources.conftest import wait_until, write_large_model
from tests.sources.fake_wandb import ARTIFACT, KEY, serving_wandb

CHAMPION = "mlflow:models:/pets@champion"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MlflowServer]:
    server = MlflowServer(tmp_path_factory.mktemp("mlflow"))
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("MLFLOW_TRACKING_URI", server.url)
        try:
            server.wait_until_healthy()
            yield server
        finally:
            server.kill()


def register(folder: Path, artifact_path: str | None, alias: str, name: str = "pets") -> str:
    """Log a model folder as docs/models.md describes; return the number of the version."""
    with mlflow.start_run() as run:
        mlflow.log_artifacts(str(folder), artifact_path)
    source = f"{run.info.artifact_uri}/{artifact_path}" if artifact_path else run.info.artifact_uri
    client = mlflow.MlflowClient()
    if not client.search_registered_models(f"name = '{name}'"):
        client.create_registered_model(name)
    version = client.create_model_version(name, source, run.info.run_id)
    client.set_registered_model_alias(name, alias, version.version)
    return str(version.version)


def test_model_of_a_real_mlflow_server_follows_its_alias(
    server: MlflowServer, tmp_path: Path
) -> None:
    mlflow.set_tracking_uri(server.url)

    def load(address: str) -> tuple[str, str]:
        request = FetchRequest(
            address=parse_address(address, tmp_path), cache=tmp_path / "cache",
            max_bytes=10_000_000, seconds=60, allow_private=True,
        )  # fmt: skip
        fetched = fetch(request)
        return fetched.version, artifact.read(fetched.folder).manifest.version

    def version() -> str:
        return current_version(parse_address(CHAMPION, tmp_path), allow_private=True)

    first = write_large_model(tmp_path / "1", version="a")
    assert register(first, "model", "champion") == "1"
    assert load(CHAMPION) == ("1", "a")
    # The root of the run: the model is one folder below.
    second = write_large_model(tmp_path / "2", version="b").parent
    assert register(second, None, "challenger") == "2"
    assert version() == "1"
    mlflow.MlflowClient().set_registered_model_alias("pets", "champion", "2")
    assert version() == "2"
    assert load(CHAMPION) == ("2", "b")
    assert load("mlflow:models:/pets/1") == ("1", "a")
    assert load("mlflow:models:/pets/latest") == ("2", "b")
    for address in ("mlflow:models:/pets@other", "mlflow:models:/dogs@a", "mlflow:models:/pets/9"):
        with pytest.raises(SourceError, match="the MLflow server has no"):
            load(address)


def test_service_replaces_the_model_when_the_alias_moves(
    server: MlflowServer, tmp_path: Path
) -> None:
    mlflow.set_tracking_uri(server.url)
    register(write_large_model(tmp_path / "1", version="a"), "model", "live", "cats")
    later = register(write_large_model(tmp_path / "2", version="b"), "model", "next", "cats")
    settings: dict[str, Any] = {
        "source_poll": 0.2,
        "data_dir": tmp_path / "data",
        "allow_private_sources": True,
    }
    with serve(tmp_path, models="cats=mlflow:models:/cats@live", **settings) as client:

        def classify() -> str:
            response = client.post("/classify", files={"file": encoded(seven())})
            assert response.status_code == 200
            return str(response.json()["model"]["version"])

        wait_until_loaded(client)
        assert classify() == "a"
        mlflow.MlflowClient().set_registered_model_alias("cats", "live", later)
        wait_until(lambda: classify() == "b")


DOWNLOAD = """
import sys, wandb
wandb.Api().artifact(sys.argv[1]).download(root=sys.argv[2])
"""


def test_client_of_wandb_downloads_from_the_fake(tmp_path: Path) -> None:
    """The fake of `tests/sources/test_wandb.py` speaks the protocol of the real client."""
    model = write_large_model(tmp_path)
    folders = ("WANDB_DIR", "WANDB_CACHE_DIR", "WANDB_CONFIG_DIR", "WANDB_DATA_DIR")
    with serving_wandb() as fake:
        fake.log_artifact(model, "best")
        environment = {
            "HOME": str(tmp_path), "PATH": os.environ["PATH"], "WANDB_ERROR_REPORTING": "false",
            "WANDB_BASE_URL": fake.url, "WANDB_API_KEY": KEY,
        }  # fmt: skip
        subprocess.run(
            [sys.executable, "-c", DOWNLOAD, f"{ARTIFACT}:best", str(tmp_path / "out")],
            env=environment | dict.fromkeys(folders, str(tmp_path / "wandb")),
            cwd=tmp_path, check=True, timeout=120,
        )  # fmt: skip
    assert artifact.read(tmp_path / "out").manifest == artifact.read(model).manifest
