"""The command of `python -m bulk`."""

import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from types import FrameType
from typing import Final

from tqdm import tqdm

from backend.inference.errors import ModelError
from backend.inference.models.artifact import MANIFEST, Manifest, read_manifest
from backend.resources.cpus import cpu_limit, threads_per_worker
from bulk import job as jobs
from bulk import local
from bulk.errors import SourceError
from bulk.job import Job, Settings
from bulk.operator import Load, ModelLoader
from evaluation.errors import PredictorError
from evaluation.predictors.local import find_model

INTERRUPTED: Final = 130  # the exit code that shells use for Ctrl-C
_LOG_SECONDS: Final = 30.0  # between two lines of progress that is not shown in a terminal


@dataclass(frozen=True, slots=True)
class Options:
    """Options of the command; `workers` and `ray_actors` None use the available processors."""

    source: str
    model: str
    out: str
    models_dir: Path
    coverage: float
    top_k: int
    labels: bool
    part_images: int | None
    workers: int | None
    ray: str | None
    ray_actors: int | None
    task: int
    tasks: int


def run(options: Options, load: Load | None = None) -> int:
    """Run or continue a job and return the exit code; raise BulkError or EvaluationError.

    `load` replaces the network of the model, for tests.
    """
    folder = find_model(options.model, options.models_dir).resolve()
    manifest = _read(folder)
    load = load or ModelLoader(folder, options.models_dir.resolve())
    settings = Settings(
        source=_absolute(options.source),
        model=manifest.name,
        version=manifest.version,
        sha256=jobs.hash_file(folder / MANIFEST),
        coverage=options.coverage,
        top_k=options.top_k,
        labels=options.labels,
        part_images=options.part_images,
        task=options.task,
        tasks=options.tasks,
    )
    out = _absolute(options.out)
    if options.labels:
        _require_evaluation()
    if options.ray:
        from bulk import cluster

        cluster.import_ray()  # a missing package is reported before the source is listed
    jobs.open_job(settings, out)  # refuses a folder of other files before a lock is written to it
    lock = jobs.lock_job(out, options.task, options.tasks)
    try:
        return _run(options, settings, out, manifest, load)
    finally:
        if lock is not None:
            lock.release()


def _run(options: Options, settings: Settings, out: str, manifest: Manifest, load: Load) -> int:
    job = jobs.open_job(settings, out) or _create(settings, out, manifest)
    pending = job.pending()
    done = job.images - sum(_size(job, unit) for unit in pending)
    notes = [f"{job.images:,} images"]
    notes += [f"{done:,} of them done before"] if done else []
    notes += [f"{job.skipped:,} other files skipped"] if job.skipped else []
    print("; ".join(notes), file=sys.stderr)
    stop = threading.Event()
    with _set_on_interrupt(stop), _Progress(job.images, done) as progress:
        if options.ray and pending:
            from bulk import cluster

            cluster.run(
                job,
                pending,
                load,
                address=options.ray,
                actors=options.ray_actors,
                progress=progress,
                is_stopped=stop.is_set,
            )
        elif pending:
            cpus = cpu_limit()
            workers = min(options.workers or max(1, round(cpus)), len(pending))
            local.run(
                job,
                pending,
                load,
                workers=workers,
                threads=threads_per_worker(cpus, workers),
                progress=progress,
                is_stopped=stop.is_set,
            )
    return _finish(job, manifest, is_stopped=stop.is_set())


def _create(settings: Settings, out: str, manifest: Manifest) -> Job:
    print(f"Listing {settings.source} ...", file=sys.stderr)
    job = jobs.create_job(settings, out)
    if settings.labels:
        from bulk.figures import match_classes

        if not job.label_map and settings.tasks == 1:
            raise SourceError(
                f"{settings.source} has no labels; --labels requires class folders, a column "
                "'label' or .cls files"
            )
        matched = match_classes(
            list(job.label_map), manifest.labels, manifest.label_ids, manifest.task
        )
        job = replace(job, label_map=matched)
    else:
        job = replace(job, label_map={})
    jobs.write_job(job)
    return job


def _finish(job: Job, manifest: Manifest, *, is_stopped: bool) -> int:
    counts = jobs.count_errors(job)
    total = sum(counts.values())
    print(f"{total:,} of {job.images:,} images have a row in {job.out}")
    for code, count in counts.most_common():
        print(f"  {code or 'classified':<20} {count:,}")
    if job.settings.labels and total and job.settings.tasks == 1:
        from bulk.figures import write_report

        print(write_report(job, manifest.labels, manifest.task))
    if total < job.images:
        print("Run the same command again to continue.", file=sys.stderr)
    if is_stopped and total < job.images:
        return INTERRUPTED
    return 0 if total == job.images else 1


class _Progress:
    """Shows the rate and the remaining time: as a bar in a terminal, else a line every 30 s."""

    def __init__(self, total: int, done: int) -> None:
        self._bar = tqdm(total=total, initial=done, unit=" images", disable=None, smoothing=0.05)
        self._started = self._shown = time.monotonic()
        self._total, self._initial = total, done

    def __enter__(self) -> "_Progress":
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.close()

    def __call__(self, images: int) -> None:
        """Show that `images` have been classified since the start."""
        done = min(self._initial + images, self._total)  # repeated units count twice
        if not self._bar.disable:
            self._bar.update(done - self._bar.n)
            return
        now = time.monotonic()
        if now - self._shown >= _LOG_SECONDS and images:
            self._shown = now
            rate = images / (now - self._started)
            left = (self._total - done) / rate
            print(
                f"{done:,} of {self._total:,} images, {rate:,.0f} images/s, {left / 60:,.0f} "
                "minutes left",
                file=sys.stderr,
                flush=True,
            )


@contextmanager
def _set_on_interrupt(stop: threading.Event) -> Iterator[None]:
    """Set `stop` on Ctrl-C and on SIGTERM; a second Ctrl-C ends the process."""

    def handle(number: int, frame: FrameType | None) -> None:
        stop.set()
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        print("\nStopping. The rows of finished parts are kept.", file=sys.stderr)

    previous = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def _read(folder: Path) -> Manifest:
    try:
        return read_manifest(folder)
    except ModelError as error:
        raise PredictorError(str(error)) from error


def _require_evaluation() -> None:
    try:
        import sklearn  # noqa: F401
    except ImportError as error:
        raise PredictorError(
            "--labels requires the packages of requirements/evaluation.txt; install them with "
            "`pip install -r requirements/evaluation.txt`"
        ) from error


def _size(job: Job, unit: int) -> int:
    return min(job.part_images, job.images - unit * job.part_images)


def _absolute(address: str) -> str:
    return address if "://" in address else str(Path(address).absolute())
