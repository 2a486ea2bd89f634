"""Runs the units of a job on Ray Data: actors hold the model and classify one unit at a time.

Ray starts and replaces the actors and repeats the units of those that end. A repeated unit writes
the same part file again, so that no image has two rows.
"""

import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

from bulk.errors import BulkError, ClusterError
from bulk.job import Job
from bulk.operator import Load, UnitClassifier
from bulk.storage import Storage
from evaluation.errors import EvaluationError

VERSIONS: Final = ((2, 51), (3, 0))  # as in requirements/bulk-ray.txt
_PACKAGES: Final = ("backend", "bulk", "calibration", "evaluation")
_WRONG_VERSION: Final = "Version mismatch"  # in the text of Ray's exception


class RayOperator:
    """The operator of an actor: classifies units."""

    def __init__(self, job: Job, load: Load) -> None:
        self._classifier = UnitClassifier(job, load)

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Return the numbers of `images`; an `error` is a text, or empty."""
        images, error = [], ""
        for unit in batch["unit"].tolist():
            try:
                images.append(0 if error else self._classifier(unit))
            except (BulkError, EvaluationError) as failure:
                error = str(failure)
                images.append(0)
        return {"images": images, "error": [error] * len(images)}


def run(
    job: Job,
    pending: Sequence[int],
    load: Load,
    *,
    address: str,
    actors: int | None = None,
    progress: Callable[[int], None] = lambda _: None,
    is_stopped: Callable[[], bool] = lambda: False,
) -> None:
    """Classify the `pending` units of a job on the Ray cluster at `address`.

    `auto` is the running cluster, `local` a new one on this machine, `actors` the maximum number
    of actors (default: the processors of the cluster). Return early once `is_stopped` returns true
    between two units. Raise ClusterError, and StorageError of the first unit that fails.
    """
    ray = import_ray()
    _connect(ray, address)
    try:
        _require_shared(job, address)
        limit = actors or max(1, int(ray.cluster_resources().get("CPU", 1)))
        context = ray.data.DataContext.get_current()
        context.enable_progress_bars = False  # the command has its own
        logging.getLogger("ray.data").setLevel(logging.ERROR)
        # Not `range`, whose tasks need a processor: actors may hold all that are left.
        units = ray.data.from_items(
            [{"unit": unit} for unit in pending], override_num_blocks=len(pending)
        )
        results = units.map_batches(
            RayOperator,
            batch_size=1,
            compute=ray.data.ActorPoolStrategy(min_size=1, max_size=min(limit, len(pending))),
            num_cpus=1,
            fn_constructor_args=(job, load),
        )
        done = 0
        for row in results.iter_rows():
            if row["error"]:
                raise ClusterError(row["error"])
            done += int(row["images"])
            progress(done)
            if is_stopped():
                return
    except ray.exceptions.RayError as error:
        raise ClusterError(
            f"Ray ended the job ({type(error).__name__}); its dashboard and logs say why. Run the "
            "same command again to continue"
        ) from error
    finally:
        ray.shutdown()


def import_ray() -> Any:
    """Return the package ray; raise ClusterError if it is missing or of another version."""
    try:
        import ray
        import ray.data
        import ray.exceptions
    except ImportError as error:
        raise ClusterError(
            "--ray requires Ray; install it with `pip install -r requirements/bulk-ray.txt`"
        ) from error
    low, high = VERSIONS
    if not low <= tuple(int(part) for part in ray.__version__.split(".")[:2]) < high:
        raise ClusterError(
            f"Ray {ray.__version__} is installed; this command requires at least "
            f"{low[0]}.{low[1]} and less than {high[0]}: `pip install -r requirements/bulk-ray.txt`"
        )
    return ray


def _connect(ray: Any, address: str) -> None:
    """Connect to a cluster, whose nodes get the packages of this command; raise ClusterError."""
    root = Path(__file__).parents[1]
    environment = {"py_modules": [str(root / name) for name in _PACKAGES]}
    try:
        ray.init(
            address=None if address == "local" else address,
            runtime_env=None if address in ("auto", "local") else environment,
            include_dashboard=False if address == "local" else None,
            log_to_driver=False,
            logging_level="error",
        )
    except (ConnectionError, ValueError, RuntimeError, OSError) as error:
        if _WRONG_VERSION in str(error):
            raise ClusterError(
                f"the cluster at {address} runs another version of Ray or Python than this command "
                f"(Ray {ray.__version__}); install the same one on both sides"
            ) from error
        hint = (
            "start one with `ray start --head`, or use --ray local"
            if address == "auto"
            else "check the address, and that the port is open"
        )
        raise ClusterError(f"no Ray cluster responds at {address}; {hint}") from error


def _require_shared(job: Job, address: str) -> None:
    """Raise ClusterError for local results of a cluster that surely has other machines."""
    if address.startswith("ray://") and Storage(job.out).is_local:
        raise ClusterError(
            f"{job.out} is a folder of this machine, which the nodes of {address} cannot write; "
            "use a bucket such as gs://bucket/results, or start the command on the cluster with "
            "--ray auto and a shared folder"
        )
