"""Runs are recorded by trackers, and a failing tracker does not stop the training."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from training import train
from training.fit import tracking
from training.fit.tracking import (
    BufferedTracker,
    Parameters,
    Status,
    TrackingError,
    track_run,
)


class FakeTracker:
    """A tracker that records its calls, or fails while `is_reachable` is false."""

    def __init__(self) -> None:
        self.is_reachable = True
        self.calls: list[object] = []

    def start(self, run: str, parameters: Parameters, earlier: str | None) -> str:
        self._record(("start", run, dict(parameters), earlier))
        return "run-7"

    def log_metrics(self, epoch: int, metrics: Any) -> None:
        self._record((epoch, dict(metrics)))

    def log_artifact(self, path: Path) -> None:
        self._record(path.name)

    def finish(self, status: Status) -> None:
        self._record(status)

    def _record(self, call: object) -> None:
        if not self.is_reachable:
            raise ConnectionError("to http://me:secret@tracker refused\nand more")
        self.calls.append(call)


@pytest.fixture
def fake_tracker(monkeypatch: pytest.MonkeyPatch) -> FakeTracker:
    tracker = FakeTracker()
    monkeypatch.setattr(tracking, "TRACKERS", {"fake": lambda _: tracker})
    return tracker


def test_run_is_recorded_from_start_to_finish(fake_tracker: FakeTracker, tmp_path: Path) -> None:
    with track_run("fake", tmp_path, "mnist-cnn", {"batch": 3}) as tracker:
        tracker.log_metrics(1, {"loss": 0.5})
        tracker.log_artifact(tmp_path / "curves.png")
    start = ("start", "mnist-cnn", {"batch": 3}, None)
    assert fake_tracker.calls == [start, (1, {"loss": 0.5}), "curves.png", "finished"]


@pytest.mark.parametrize(
    ("error", "status"), [(ValueError(), "failed"), (KeyboardInterrupt(), "stopped")]
)
def test_interrupted_run_is_resumed(
    error: BaseException, status: str, fake_tracker: FakeTracker, tmp_path: Path
) -> None:
    with pytest.raises(type(error)), track_run("fake", tmp_path, "mnist-cnn", {}):
        raise error
    for _ in range(2):
        with track_run("fake", tmp_path, "mnist-cnn", {}):
            pass
    assert [call for call in fake_tracker.calls if isinstance(call, str)] == [
        status,
        *["finished"] * 2,
    ]
    assert [call[-1] for call in fake_tracker.calls if isinstance(call, tuple)] == [
        None,
        "run-7",
        None,
    ]


def test_failed_calls_are_repeated_when_tracker_is_reachable_again(
    fake_tracker: FakeTracker, capsys: pytest.CaptureFixture[str]
) -> None:
    tracker = BufferedTracker(fake_tracker)
    fake_tracker.is_reachable = False
    tracker.log_metrics(1, {"loss": 0.5})
    tracker.log_metrics(2, {"loss": 0.4})
    warning = capsys.readouterr().err
    assert warning.count("experiment tracking failed") == 1
    assert len(warning.splitlines()) == 1
    assert "secret" not in warning
    fake_tracker.is_reachable = True
    tracker.log_metrics(3, {"loss": 0.3})
    assert fake_tracker.calls == [(1, {"loss": 0.5}), (2, {"loss": 0.4}), (3, {"loss": 0.3})]


def test_tracker_that_cannot_start_raises_error_before_training(
    fake_tracker: FakeTracker, tmp_path: Path
) -> None:
    fake_tracker.is_reachable = False
    with (
        pytest.raises(TrackingError, match=r"fake cannot be started.*without --track"),
        track_run("fake", tmp_path, "mnist-cnn", {}),
    ):
        pytest.fail("training started")


@pytest.mark.parametrize("library", ["mlflow", "wandb"])
def test_missing_library_error_contains_install_command(
    library: str, small_mnist: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(SystemExit, match=r"pip install -r requirements/tracking\.txt"):
        train.main(["mnist-mlp", "--data", str(small_mnist), "--track", library])


def test_training_imports_no_tracker_by_default() -> None:
    code = "import sys, training.train; print({'mlflow', 'wandb'} & set(sys.modules))"
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "set()"
