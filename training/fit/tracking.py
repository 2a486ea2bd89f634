"""Where a training run is told about, beside its run folder: nowhere, MLflow, Weights & Biases.

Neither is needed to train; the library is imported when it is asked for.
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
    """A tracker that cannot be started; the text says what to do."""


class Tracker(Protocol):
    """Is told of one run: `start` once, `finish` once, between them anything.

    `start` returns the run's own number; given the one of an `earlier` run, that one goes on.
    Every method may raise anything; `tracked` sees to it that no training ends for that.
    """

    def start(self, run: str, parameters: Parameters, earlier: str | None) -> str: ...

    def log(self, epoch: int, metrics: Mapping[str, float]) -> None: ...

    def artifact(self, path: Path) -> None: ...

    def finish(self, status: Status) -> None: ...


class NoTracker:
    """Tells nobody."""

    def start(self, run: str, parameters: Parameters, earlier: str | None) -> str:
        return ""

    def log(self, epoch: int, metrics: Mapping[str, float]) -> None: ...

    def artifact(self, path: Path) -> None: ...

    def finish(self, status: Status) -> None: ...


class MlflowTracker:
    """A run of the experiment `prism`: in `folder`/mlflow.db, or at MLFLOW_TRACKING_URI."""

    STATUSES: Mapping[Status, str] = {
        "finished": "FINISHED",
        "failed": "FAILED",
        "stopped": "KILLED",
    }

    def __init__(self, folder: Path) -> None:
        # Its own patience with a server that is gone is minutes for every call.
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "10")
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        self._mlflow = _load("mlflow")
        self._folder = folder.resolve()
        self._server = os.environ.get("MLFLOW_TRACKING_URI")
        self._run = ""

    def start(self, run: str, parameters: Parameters, earlier: str | None) -> str:
        self._folder.mkdir(parents=True, exist_ok=True)
        database = f"sqlite:///{self._folder / 'mlflow.db'}"
        self._client = self._mlflow.MlflowClient(tracking_uri=self._server or database)
        experiment = self._experiment()
        known = f"attributes.run_id = '{earlier}'"
        if earlier and self._client.search_runs([experiment], known):
            self._run = earlier
            self._client.update_run(earlier, status="RUNNING")
            return earlier
        self._run = self._client.create_run(experiment, run_name=run).info.run_id
        for name, value in parameters.items():
            self._client.log_param(self._run, name, value)
        return self._run

    def log(self, epoch: int, metrics: Mapping[str, float]) -> None:
        for name, value in metrics.items():
            self._client.log_metric(self._run, name, value, step=epoch)

    def artifact(self, path: Path) -> None:
        self._client.log_artifact(self._run, str(path))

    def finish(self, status: Status) -> None:
        self._client.set_terminated(self._run, self.STATUSES[status])

    def _experiment(self) -> str:
        found = self._client.get_experiment_by_name(EXPERIMENT)
        if found is not None:
            return str(found.experiment_id)
        # A server keeps artifacts where it likes; beside a database that is a file they are files.
        local = (self._folder / "mlflow-artifacts").as_uri()
        place = {} if self._server else {"artifact_location": local}
        return str(self._client.create_experiment(EXPERIMENT, **place))


class WandbTracker:
    """A run of the project `prism`: in `folder`/wandb, for `wandb sync`.

    It goes to the server at once where WANDB_API_KEY is set; WANDB_MODE overrules both.
    """

    def __init__(self, folder: Path) -> None:
        self._wandb = _load("wandb")
        self._folder = folder.resolve()
        self._run: Any = None

    def start(self, run: str, parameters: Parameters, earlier: str | None) -> str:
        self._folder.mkdir(parents=True, exist_ok=True)
        told = "online" if os.environ.get("WANDB_API_KEY") else "offline"
        self._run = self._wandb.init(
            project=EXPERIMENT,
            name=run,
            id=earlier,
            resume="allow" if earlier else None,
            config=dict(parameters),
            dir=self._folder,
            mode=os.environ.get("WANDB_MODE", told),
            settings=self._wandb.Settings(
                silent=True, console="off", disable_git=True, disable_code=True
            ),
        )
        return str(self._run.id)

    def log(self, epoch: int, metrics: Mapping[str, float]) -> None:
        self._run.log(dict(metrics), step=epoch)

    def artifact(self, path: Path) -> None:
        copied = shutil.copy(path, self._run.dir)  # a link would show what comes later
        self._run.save(copied, base_path=self._run.dir, policy="now")

    def finish(self, status: Status) -> None:
        self._run.summary["status"] = status
        self._run.finish(exit_code=0 if status == "finished" else 1)


TRACKERS: Mapping[str, Callable[[Path], Tracker]] = {
    "mlflow": MlflowTracker,
    "wandb": WandbTracker,
}


class Patient:
    """A tracker that fails: says so once, and tells it later what it missed, if it comes back."""

    def __init__(self, tracker: Tracker) -> None:
        self._tracker = tracker
        self._missed: list[Callable[[], None]] = []
        self._warned = False

    def log(self, epoch: int, metrics: Mapping[str, float]) -> None:
        self._try(lambda: self._tracker.log(epoch, metrics))

    def artifact(self, path: Path) -> None:
        self._try(lambda: self._tracker.artifact(path))

    def finish(self, status: Status) -> None:
        self._try(lambda: self._tracker.finish(status))

    def _try(self, call: Callable[[], None]) -> None:
        self._missed.append(call)
        try:
            while self._missed:
                self._missed[0]()
                self._missed.pop(0)
        except Exception as error:  # whatever the library raises
            if not self._warned:
                print(f"the tracker fails ({_reason(error)}); training goes on", file=sys.stderr)
            self._warned = True


@contextmanager
def tracked(
    kind: str | None, folder: Path, run: str, parameters: Parameters, *, fresh: bool = False
) -> Iterator[Patient]:
    """Tell the tracker `kind` (None: nobody) of what happens inside, and how it ended.

    Files of its own lie in `folder`. A run that was killed or failed goes on there, too, unless it
    starts `fresh`. Raises TrackingError where the tracker is not installed or cannot be started;
    from then on it never raises.
    """
    tracker = TRACKERS[kind](folder) if kind else NoTracker()
    kept = folder / run / f"{kind}.run"
    try:
        earlier = kept.read_text() if kept.exists() and not fresh else None
        number = tracker.start(run, parameters, earlier)
    except Exception as error:
        raise TrackingError(
            f"{kind} cannot be started ({_reason(error)}); mend that, or train without --track"
        ) from error
    if kind:
        kept.parent.mkdir(parents=True, exist_ok=True)
        kept.write_text(number)
    patient = Patient(tracker)
    try:
        yield patient
    except BaseException as error:
        patient.finish("stopped" if isinstance(error, KeyboardInterrupt) else "failed")
        raise
    patient.finish("finished")
    kept.unlink(missing_ok=True)


def _reason(error: Exception) -> str:
    """One line about what went wrong, without the password that an address may hold."""
    line = " ".join(f"{type(error).__name__}: {error}".split())
    return re.sub(r"//[^/@\s]+@", "//", line)[:200]


def _load(library: str) -> Any:
    try:
        return import_module(library)
    except ModuleNotFoundError as error:
        raise TrackingError(
            f"--track {library} needs {error.name}: pip install -r requirements/tracking.txt"
        ) from error
