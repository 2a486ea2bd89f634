"""Experiment tracking of training runs: MLflow and Weights & Biases, both optional.

The tracking library is imported only if it is requested.
"""

import os
import re
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any, Literal, Protocol

EXPERIMENT = "prism"
Status = Literal["finished", "failed", "stopped"]
Parameters = Mapping[str, str | int | float | bool]


class TrackingError(Exception):
    """The tracker cannot be started; the message says what to do."""


class Tracker(Protocol):
    """Records one run: `start` is called first, `finish` last.

    `start` returns the ID of the run. Given the ID `earlier` of an interrupted run, it resumes
    that one. Methods may raise any exception; `track_run` handles them.
    """

    def start(self, run: str, parameters: Parameters, earlier: str | None) -> str: ...

    def log_metrics(self, epoch: int, metrics: Mapping[str, float]) -> None: ...

    def log_artifact(self, path: Path) -> None: ...

    def finish(self, status: Status) -> None: ...


class MlflowTracker:
    """Records a run of the experiment `prism` in `folder`/mlflow.db or at MLFLOW_TRACKING_URI."""

    def __init__(self, folder: Path) -> None:
        # By default, MLflow retries each call to an unreachable server for minutes.
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "10")
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        self._mlflow = _import_library("mlflow")
        self._folder = folder.resolve()
        self._server_url = os.environ.get("MLFLOW_TRACKING_URI")
        self._run_id = ""

    def start(self, run: str, parameters: Parameters, earlier: str | None) -> str:
        self._folder.mkdir(parents=True, exist_ok=True)
        database = f"sqlite:///{self._folder / 'mlflow.db'}"
        self._client = self._mlflow.MlflowClient(tracking_uri=self._server_url or database)
        experiment = self._experiment_id()
        query = f"attributes.run_id = '{earlier}'"
        if earlier and self._client.search_runs([experiment], query):
            self._run_id = earlier
            self._client.update_run(earlier, status="RUNNING")
            return earlier
        self._run_id = self._client.create_run(experiment, run_name=run).info.run_id
        for name, value in parameters.items():
            self._client.log_param(self._run_id, name, value)
        return self._run_id

    def log_metrics(self, epoch: int, metrics: Mapping[str, float]) -> None:
        for name, value in metrics.items():
            self._client.log_metric(self._run_id, name, value, step=epoch)

    def log_artifact(self, path: Path) -> None:
        self._client.log_artifact(self._run_id, str(path))

    def finish(self, status: Status) -> None:
        names: Mapping[str, str] = {"failed": "FAILED", "stopped": "KILLED"}
        self._client.set_terminated(self._run_id, names.get(status, "FINISHED"))

    def _experiment_id(self) -> str:
        experiment = self._client.get_experiment_by_name(EXPERIMENT)
        if experiment is not None:
            return str(experiment.experiment_id)
        # A server chooses the artifact location; for a local database it is a folder beside it.
        local = (self._folder / "mlflow-artifacts").as_uri()
        location = {} if self._server_url else {"artifact_location": local}
        return str(self._client.create_experiment(EXPERIMENT, **location))


class WandbTracker:
    """Records a run of the project `prism` in `folder`/wandb, for `wandb sync`.

    It uploads immediately if WANDB_API_KEY is set. WANDB_MODE overrides both.
    """

    def __init__(self, folder: Path) -> None:
        self._wandb = _import_library("wandb")
        self._folder = folder.resolve()
        self._run: Any = None

    def start(self, run: str, parameters: Parameters, earlier: str | None) -> str:
        self._folder.mkdir(parents=True, exist_ok=True)
        mode = "online" if os.environ.get("WANDB_API_KEY") else "offline"
        self._run = self._wandb.init(
            project=EXPERIMENT,
            name=run,
            id=earlier,
            resume="allow" if earlier else None,
            config=dict(parameters),
            dir=self._folder,
            mode=os.environ.get("WANDB_MODE", mode),
            settings=self._wandb.Settings(
                silent=True, console="off", disable_git=True, disable_code=True
            ),
        )
        return str(self._run.id)

    def log_metrics(self, epoch: int, metrics: Mapping[str, float]) -> None:
        self._run.log(dict(metrics), step=epoch)

    def log_artifact(self, path: Path) -> None:
        copy = shutil.copy(path, self._run.dir)  # W&B links files, and this one may change
        self._run.save(copy, base_path=self._run.dir, policy="now")

    def finish(self, status: Status) -> None:
        self._run.summary["status"] = status
        self._run.finish(exit_code=0 if status == "finished" else 1)


TRACKERS: Mapping[str, Callable[[Path], Tracker]] = {"mlflow": MlflowTracker, "wandb": WandbTracker}


class BufferedTracker:
    """Wraps a tracker: buffers failed calls, repeats them before the next, and warns once.

    Without a tracker, it records nothing.
    """

    def __init__(self, tracker: Tracker | None) -> None:
        self._tracker = tracker
        self._pending: list[Callable[[Tracker], None]] = []
        self._has_warned = False

    def log_metrics(self, epoch: int, metrics: Mapping[str, float]) -> None:
        self._call(lambda tracker: tracker.log_metrics(epoch, metrics))

    def log_artifact(self, path: Path) -> None:
        self._call(lambda tracker: tracker.log_artifact(path))

    def finish(self, status: Status) -> None:
        self._call(lambda tracker: tracker.finish(status))

    def _call(self, call: Callable[[Tracker], None]) -> None:
        if self._tracker is None:
            return
        self._pending.append(call)
        try:
            while self._pending:
                self._pending[0](self._tracker)
                self._pending.pop(0)
        except Exception as error:  # libraries raise exceptions of any type
            if not self._has_warned:
                reason = _describe(error)
                print(f"experiment tracking failed ({reason}); training continues", file=sys.stderr)
            self._has_warned = True


@contextmanager
def track_run(
    kind: str | None, folder: Path, run: str, parameters: Parameters, *, fresh: bool = False
) -> Iterator[BufferedTracker]:
    """Record a run with the tracker `kind` (None: no tracker), including its final status.

    The tracker's files are in `folder`. An interrupted run is resumed unless `fresh` is set.
    Raise TrackingError if the tracker is not installed or cannot be started. Later failures of
    the tracker are not raised.
    """
    if not kind:
        yield BufferedTracker(None)
        return
    tracker = TRACKERS[kind](folder)
    id_file = folder / run / f"{kind}.run"
    try:
        earlier = id_file.read_text() if id_file.exists() and not fresh else None
        run_id = tracker.start(run, parameters, earlier)
    except Exception as error:
        raise TrackingError(
            f"{kind} cannot be started ({_describe(error)}); fix this or train without --track"
        ) from error
    id_file.parent.mkdir(parents=True, exist_ok=True)
    id_file.write_text(run_id)
    buffered = BufferedTracker(tracker)
    try:
        yield buffered
    except BaseException as error:
        buffered.finish("stopped" if isinstance(error, KeyboardInterrupt) else "failed")
        raise
    buffered.finish("finished")
    id_file.unlink(missing_ok=True)


def _describe(error: Exception) -> str:
    """Return one line about `error`, without the credentials that a URL may contain."""
    line = " ".join(f"{type(error).__name__}: {error}".split())
    return re.sub(r"//[^/@\s]+@", "//", line)[:200]


def _import_library(library: str) -> Any:
    try:
        return import_module(library)
    except ModuleNotFoundError as error:
        message = f"--track {library} needs {error.name}: pip install -r requirements/tracking.txt"
        raise TrackingError(message) from error
