"""Runs are told to real trackers, and a tracker that fails ends no training."""

import json
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.conftest import free_port
from tests.training import small
from tests.training.trackers import Server, wandb_records
from training import train
from training.fit import tracking
from training.fit.tracking import Parameters, Patient, Status, TrackingError, tracked

COMMAND = ("mnist-mlp", "--epochs", "2", "--out", "out")


class Diary:
    """A tracker that writes down what it is told, while it is `there`."""

    def __init__(self) -> None:
        self.there = True
        self.told: list[object] = []

    def start(self, run: str, parameters: Parameters, earlier: str | None) -> str:
        self._write(("start", run, dict(parameters), earlier))
        return "number 7"

    def log(self, epoch: int, metrics: Any) -> None:
        self._write((epoch, dict(metrics)))

    def artifact(self, path: Path) -> None:
        self._write(path.name)

    def finish(self, status: Status) -> None:
        self._write(status)

    def _write(self, line: object) -> None:
        if not self.there:
            raise ConnectionError("to http://me:secret@tracker refused\nand more")
        self.told.append(line)


@pytest.fixture
def diary(monkeypatch: pytest.MonkeyPatch) -> Diary:
    diary = Diary()
    monkeypatch.setattr(tracking, "TRACKERS", {"diary": lambda _: diary})
    return diary


def test_a_run_is_told_from_start_to_finish(diary: Diary, tmp_path: Path) -> None:
    with tracked("diary", tmp_path, "mnist-cnn", {"batch": 3}) as tracker:
        tracker.log(1, {"loss": 0.5})
        tracker.artifact(tmp_path / "curves.png")
    start = ("start", "mnist-cnn", {"batch": 3}, None)
    assert diary.told == [start, (1, {"loss": 0.5}), "curves.png", "finished"]


@pytest.mark.parametrize(
    ("error", "status"), [(ValueError(), "failed"), (KeyboardInterrupt(), "stopped")]
)
def test_a_run_that_did_not_finish_is_gone_on_with(
    error: BaseException, status: str, diary: Diary, tmp_path: Path
) -> None:
    with pytest.raises(type(error)), tracked("diary", tmp_path, "mnist-cnn", {}):
        raise error
    for _ in range(2):
        with tracked("diary", tmp_path, "mnist-cnn", {}):
            pass
    assert [line for line in diary.told if isinstance(line, str)] == [status, *["finished"] * 2]
    assert [line[-1] for line in diary.told if isinstance(line, tuple)] == [None, "number 7", None]


def test_a_tracker_that_comes_back_is_told_what_it_missed(
    diary: Diary, capsys: pytest.CaptureFixture[str]
) -> None:
    tracker = Patient(diary)
    diary.there = False
    tracker.log(1, {"loss": 0.5})
    tracker.log(2, {"loss": 0.4})
    said = capsys.readouterr().err
    assert said.count("the tracker fails") == 1
    assert len(said.splitlines()) == 1
    assert "secret" not in said
    diary.there = True
    tracker.log(3, {"loss": 0.3})
    assert diary.told == [(1, {"loss": 0.5}), (2, {"loss": 0.4}), (3, {"loss": 0.3})]


def test_a_tracker_that_cannot_be_started_is_said_before_anything_is_trained(
    diary: Diary, tmp_path: Path
) -> None:
    diary.there = False
    with (
        pytest.raises(TrackingError, match=r"diary cannot be started.*without --track"),
        tracked("diary", tmp_path, "mnist-cnn", {}),
    ):
        pytest.fail("went on")


@pytest.mark.parametrize("library", ["mlflow", "wandb"])
def test_a_library_that_is_not_installed_is_one_line_with_the_command(
    library: str, small_mnist: Path, workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(workplace)
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(SystemExit, match=r"pip install -r requirements/tracking\.txt"):
        train.main(["mnist-mlp", "--data", str(small_mnist), "--track", library])


def test_training_imports_no_tracker_unless_asked() -> None:
    code = "import sys, training.train; print({'mlflow', 'wandb'} & set(sys.modules))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "set()"


@pytest.fixture
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = Server(tmp_path_factory.mktemp("mlflow"))
    try:
        server.wait_until_healthy()
        yield server
    finally:
        server.kill()


def test_a_killed_and_resumed_training_is_one_run_on_an_mlflow_server(
    server: Server, small_mnist: Path, workplace: Path
) -> None:
    command = (*COMMAND, "--data", str(small_mnist), "--track", "mlflow")
    small.run(workplace, *command, die_after=1, MLFLOW_TRACKING_URI=server.url)
    assert server.run()["info"]["status"] == "RUNNING"
    resumed = small.run(workplace, *command, MLFLOW_TRACKING_URI=server.url)
    assert resumed.returncode == 0, resumed.stderr
    run = server.run()
    assert (run["info"]["run_name"], run["info"]["status"]) == ("mnist-mlp", "FINISHED")
    parameters = {pair["key"]: pair["value"] for pair in run["data"]["params"]}
    assert parameters["epochs"] == "2"
    number = run["info"]["run_id"]
    history = httpx.get(
        f"{server.url}/api/2.0/mlflow/metrics/get-history",
        params={"run_id": number, "metric_key": "validation_loss"},
    ).json()["metrics"]
    lines = (workplace / "runs/mnist-mlp/metrics.jsonl").read_text().splitlines()
    assert {int(m["step"]): m["value"] for m in history} == {
        line["epoch"]: line["validation_loss"] for line in map(json.loads, lines)
    }
    files = httpx.get(
        f"{server.url}/api/2.0/mlflow/artifacts/list", params={"run_id": number}
    ).json()["files"]
    assert {"summary.json", "confusion.png", "roc.json"} <= {file["path"] for file in files}


def test_an_mlflow_server_that_is_gone_is_said_once_and_ends_nothing(
    server: Server,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server.url)
    with tracked("mlflow", tmp_path, "mnist-mlp", {}) as tracker:
        tracker.log(1, {"loss": 0.5})
        server.kill()
        tracker.log(2, {"loss": 0.4})
        tracker.log(3, {"loss": 0.3})
    assert capsys.readouterr().err.count("the tracker fails") == 1


def test_an_mlflow_server_that_never_was_is_one_line(small_mnist: Path, workplace: Path) -> None:
    command = (*COMMAND, "--data", str(small_mnist), "--track", "mlflow")
    url = f"http://127.0.0.1:{free_port()}"
    ended = small.run(workplace, *command, MLFLOW_TRACKING_URI=url)
    assert ended.returncode == 1
    assert "mlflow cannot be started" in ended.stderr.splitlines()[-1]
    assert "Traceback" not in ended.stderr


def test_mlflow_keeps_a_database_in_runs_by_default(small_mnist: Path, workplace: Path) -> None:
    ended = small.run(workplace, *COMMAND, "--data", str(small_mnist), "--track", "mlflow")
    assert ended.returncode == 0, ended.stderr
    with sqlite3.connect(workplace / "runs" / "mlflow.db") as database:
        (status,) = database.execute("SELECT status FROM runs").fetchone()
        steps = database.execute(
            "SELECT step FROM metrics WHERE key = 'validation_loss' ORDER BY step"
        ).fetchall()
    database.close()
    assert status == "FINISHED"
    assert steps == [(1,), (2,)]
    assert list((workplace / "runs" / "mlflow-artifacts").rglob("summary.json"))


def test_weights_and_biases_keeps_an_offline_run_by_default(
    small_mnist: Path, workplace: Path
) -> None:
    ended = small.run(workplace, *COMMAND, "--data", str(small_mnist), "--track", "wandb")
    assert ended.returncode == 0, ended.stderr
    (folder,) = (workplace / "runs" / "wandb").glob("offline-run-*")
    assert (folder / "files" / "summary.json").is_file()
    (path,) = folder.glob("*.wandb")
    records = list(wandb_records(path))
    (run,) = (record.run for record in records if record.HasField("run"))
    assert (run.project, run.display_name) == ("prism", "mnist-mlp")
    losses = {}
    for record in records:
        items = {item.key or item.nested_key[0]: item.value_json for item in record.history.item}
        if "validation_loss" in items:
            losses[int(items["_step"])] = float(items["validation_loss"])
    lines = (workplace / "runs/mnist-mlp/metrics.jsonl").read_text().splitlines()
    assert losses == {
        line["epoch"]: pytest.approx(line["validation_loss"]) for line in map(json.loads, lines)
    }
    (end,) = (record.exit for record in records if record.HasField("exit"))
    assert end.exit_code == 0
