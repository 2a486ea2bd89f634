"""Killed trainings resume, and runs are recorded by MLflow and Weights & Biases."""

import json
import signal
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from backend.inference.models import artifact
from tests.conftest import free_port
from tests.e2e.tracking_servers import MlflowServer, read_wandb_records
from tests.training import small_training
from tests.training.small_training import create_work_folder, write_small_mnist
from training.fit.tracking import track_run

COMMAND = ("mnist-mlp", "--epochs", "2", "--out", "out")


@pytest.fixture(scope="module")
def small_mnist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_small_mnist(tmp_path_factory.mktemp("mnist"))


@pytest.fixture(scope="module")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The cache of rendered images that all trainings share."""
    return tmp_path_factory.mktemp("rendered")


@pytest.fixture
def work_folder(tmp_path: Path, rendered: Path) -> Path:
    return create_work_folder(tmp_path, rendered)


def test_killed_training_resumes_with_identical_result(
    small_mnist: Path, work_folder: Path
) -> None:
    command = ["mnist-mlp", "--data", str(small_mnist), "--epochs", "3", "--out"]
    killed = small_training.run(work_folder, *command, "killed", kill_after=1)
    assert killed.returncode == -signal.SIGKILL
    assert not (work_folder / "killed").exists()
    resumed = small_training.run(work_folder, *command, "killed")
    assert "resuming after epoch 1" in resumed.stdout
    whole = small_training.run(work_folder, *command, "whole", "--fresh")
    assert "resuming" not in whole.stdout
    once, twice = (artifact.read(work_folder / name / "mnist-mlp") for name in ("killed", "whole"))
    assert once.manifest.files == twice.manifest.files
    assert artifact.WEIGHTS in once.manifest.files


@pytest.fixture
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MlflowServer]:
    server = MlflowServer(tmp_path_factory.mktemp("mlflow"))
    try:
        server.wait_until_healthy()
        yield server
    finally:
        server.kill()


def test_killed_and_resumed_training_is_one_run_on_mlflow_server(
    server: MlflowServer, small_mnist: Path, work_folder: Path
) -> None:
    command = (*COMMAND, "--data", str(small_mnist), "--track", "mlflow")
    small_training.run(work_folder, *command, kill_after=1, MLFLOW_TRACKING_URI=server.url)
    assert server.get_run()["info"]["status"] == "RUNNING"
    resumed = small_training.run(work_folder, *command, MLFLOW_TRACKING_URI=server.url)
    assert resumed.returncode == 0, resumed.stderr
    run = server.get_run()
    assert (run["info"]["run_name"], run["info"]["status"]) == ("mnist-mlp", "FINISHED")
    parameters = {pair["key"]: pair["value"] for pair in run["data"]["params"]}
    assert parameters["epochs"] == "2"
    run_id = run["info"]["run_id"]
    history = httpx.get(
        f"{server.url}/api/2.0/mlflow/metrics/get-history",
        params={"run_id": run_id, "metric_key": "validation_loss"},
    ).json()["metrics"]
    lines = (work_folder / "runs/mnist-mlp/metrics.jsonl").read_text().splitlines()
    assert {int(m["step"]): m["value"] for m in history} == {
        line["epoch"]: line["validation_loss"] for line in map(json.loads, lines)
    }
    files = httpx.get(
        f"{server.url}/api/2.0/mlflow/artifacts/list", params={"run_id": run_id}
    ).json()["files"]
    assert {"summary.json", "confusion.png", "roc.json"} <= {file["path"] for file in files}


def test_stopped_mlflow_server_causes_one_warning(
    server: MlflowServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server.url)
    with track_run("mlflow", tmp_path, "mnist-mlp", {}) as tracker:
        tracker.log_metrics(1, {"loss": 0.5})
        server.kill()
        tracker.log_metrics(2, {"loss": 0.4})
        tracker.log_metrics(3, {"loss": 0.3})
    assert capsys.readouterr().err.count("experiment tracking failed") == 1


def test_unreachable_mlflow_server_ends_with_one_line_error(
    small_mnist: Path, work_folder: Path
) -> None:
    command = (*COMMAND, "--data", str(small_mnist), "--track", "mlflow")
    url = f"http://127.0.0.1:{free_port()}"
    result = small_training.run(work_folder, *command, MLFLOW_TRACKING_URI=url)
    assert result.returncode == 1
    assert "mlflow cannot be started" in result.stderr.splitlines()[-1]
    assert "Traceback" not in result.stderr


def test_mlflow_uses_local_database_by_default(small_mnist: Path, work_folder: Path) -> None:
    result = small_training.run(
        work_folder, *COMMAND, "--data", str(small_mnist), "--track", "mlflow"
    )
    assert result.returncode == 0, result.stderr
    with sqlite3.connect(work_folder / "runs" / "mlflow.db") as database:
        (status,) = database.execute("SELECT status FROM runs").fetchone()
        steps = database.execute(
            "SELECT step FROM metrics WHERE key = 'validation_loss' ORDER BY step"
        ).fetchall()
    database.close()
    assert status == "FINISHED"
    assert steps == [(1,), (2,)]
    assert list((work_folder / "runs" / "mlflow-artifacts").rglob("summary.json"))


def test_wandb_stores_offline_run_by_default(small_mnist: Path, work_folder: Path) -> None:
    result = small_training.run(
        work_folder, *COMMAND, "--data", str(small_mnist), "--track", "wandb"
    )
    assert result.returncode == 0, result.stderr
    (folder,) = (work_folder / "runs" / "wandb").glob("offline-run-*")
    assert (folder / "files" / "summary.json").is_file()
    (path,) = folder.glob("*.wandb")
    records = list(read_wandb_records(path))
    (run,) = (record.run for record in records if record.HasField("run"))
    assert (run.project, run.display_name) == ("prism", "mnist-mlp")
    losses = {}
    for record in records:
        items = {item.key or item.nested_key[0]: item.value_json for item in record.history.item}
        if "validation_loss" in items:
            losses[int(items["_step"])] = float(items["validation_loss"])
    lines = (work_folder / "runs/mnist-mlp/metrics.jsonl").read_text().splitlines()
    assert losses == {
        line["epoch"]: pytest.approx(line["validation_loss"]) for line in map(json.loads, lines)
    }
    (end,) = (record.exit for record in records if record.HasField("exit"))
    assert end.exit_code == 0
