"""Runs the units of a job in processes of this machine."""

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing.connection import wait as wait_for_end
from typing import Any, Final

from bulk.errors import BulkError, WorkerError
from bulk.job import Job
from bulk.operator import Load, UnitClassifier
from evaluation.errors import EvaluationError

MAX_FAILURES: Final = 3  # of the processes, without a finished unit in between
_POLL_SECONDS: Final = 0.2

_classifier: UnitClassifier | None = None
_failure: Exception | None = None
_counter: Any = None


def run(
    job: Job,
    pending: Sequence[int],
    load: Load,
    *,
    workers: int,
    threads: int = 1,
    progress: Callable[[int], None] = lambda _: None,
    is_stopped: Callable[[], bool] = lambda: False,
) -> None:
    """Classify the `pending` units of a job in `workers` processes.

    `progress` is called with the number of images classified so far. Return early, without the
    units in work, once `is_stopped` returns true. A process that ends is replaced and its unit
    repeated; raise WorkerError if that happens three times in succession. Raise StorageError and
    PredictorError.
    """
    context = multiprocessing.get_context("spawn")
    counter = context.Value("q", 0)
    remaining = set(pending)
    failures = 0
    while remaining and not is_stopped():
        try:
            with _pool(context, workers, (job, load, threads, counter)) as pool:
                for unit in _run_units(pool, sorted(remaining), 2 * workers, is_stopped):
                    remaining.discard(unit)
                    progress(counter.value)
                    if unit < 0:
                        continue
                    failures = 0
        except BrokenProcessPool as error:
            failures += 1
            if failures == MAX_FAILURES:
                first = ", ".join(str(unit) for unit in sorted(remaining)[:workers])
                raise WorkerError(
                    f"the processes ended {MAX_FAILURES} times while they classified units "
                    f"{first}, perhaps for lack of memory: reduce --workers and run the same "
                    "command again"
                ) from error
    progress(counter.value)


@contextmanager
def _pool(context: Any, workers: int, arguments: tuple[Any, ...]) -> Iterator[ProcessPoolExecutor]:
    """Yield a pool whose processes are killed at the end: part files are complete or absent."""
    pool = ProcessPoolExecutor(workers, context, _start, arguments)
    try:
        yield pool
    finally:
        processes = list((pool._processes or {}).values())
        pool.shutdown(wait=False, cancel_futures=True)
        for process in processes:
            process.kill()
        for process in processes:
            process.join()


def _run_units(
    pool: ProcessPoolExecutor, units: Sequence[int], ahead: int, is_stopped: Callable[[], bool]
) -> Iterator[int]:
    """Yield each finished unit, and -1 at least every 0.2 s; return when stopped."""
    waiting = iter(units)
    running: dict[Future[int], int] = {}
    while not is_stopped():
        while len(running) < ahead and (unit := next(waiting, None)) is not None:
            with _blocked_interrupt():
                running[pool.submit(_classify, unit)] = unit
        if not running:
            return
        done, _ = wait(running, _POLL_SECONDS, FIRST_COMPLETED)
        # Finished units first: they count although a process ended at the same time.
        for future in sorted(done, key=lambda each: each.exception() is not None):
            future.result()
            yield running.pop(future)
        yield -1


@contextmanager
def _blocked_interrupt() -> Iterator[None]:
    """Delay Ctrl-C; processes that start meanwhile never receive it, as they inherit the mask."""
    previous = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, previous)


def _start(job: Job, load: Load, threads: int, counter: Any) -> None:
    """Load the model in a new process, which ends with its parent."""
    global _classifier, _failure, _counter
    parent = multiprocessing.parent_process()
    assert parent is not None  # noqa: S101

    def end_with_parent() -> None:
        wait_for_end([parent.sentinel])
        os._exit(1)

    threading.Thread(target=end_with_parent, daemon=True).start()
    _counter = counter
    try:
        _classifier = UnitClassifier(job, load, threads=threads)
    except (BulkError, EvaluationError) as error:
        _failure = error  # an exception here would be reported as a broken pool


def _classify(unit: int) -> int:
    if _failure is not None:
        raise _failure
    assert _classifier is not None  # noqa: S101
    return _classifier(unit, _count)


def _count(images: int) -> None:
    with _counter.get_lock():
        _counter.value += images
