"""Runs the batches of one model: decode what is not yet, one forward pass, probabilities.

It holds one or two loaded networks: one that takes all processors for a picture that is alone,
one of a single thread of which several run side by side.
"""

import hashlib
import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

import numpy as np
from filelock import FileLock, Timeout

from backend.inference import autotune
from backend.inference.autotune import Plan
from backend.inference.batcher import Batch
from backend.inference.decoder import Decoder, Input
from backend.inference.errors import ArtifactError, ClosedError, InferenceError
from backend.inference.models.artifact import Artifact
from backend.inference.observer import Observer
from backend.inference.runtimes import Runtime
from backend.inference.types import Floats
from calibration import apply

log = logging.getLogger("prism.engine")


class Load(Protocol):
    """Loads a model, to run with so many threads: `partial(runtimes.load, artifact)`."""

    def __call__(self, *, threads: int) -> Runtime:
        """Return the loaded network."""


@dataclass(frozen=True, slots=True)
class Answer:
    """Calibrated probabilities of shape (n, C), out-of-distribution scores of shape (n,) where
    the outputs tell, and the seconds spent on them.
    """

    outputs: Floats
    ood_scores: Floats | None
    decode: float
    inference: float


class Engine:
    """Answers batches of files and inputs; several threads may call it at a time."""

    def __init__(
        self,
        artifact: Artifact,
        load: Load,
        decoder: Decoder,
        *,
        threads: int,
        max_batch: int,
        observer: Observer,
    ) -> None:
        """Load the network and warm it with one blank input.

        Raises ArtifactError where the network does not give one finite number per label.
        """
        self._artifact: Final = artifact
        fitted = artifact.manifest.calibration
        self._temperature: Final = fitted.temperature if fitted else 1.0
        self._load = load
        self._decoder = decoder
        self._threads = threads
        self._max_batch = max_batch
        self._observer = observer
        self._stopped = threading.Event()
        self._alone = self._together = load(threads=threads)
        self.plan = autotune.one_runner(self._alone, threads, max_batch)
        self.runtime_name: Final = self._alone.name
        self._warm_up()
        started = time.perf_counter()
        self._warm_up()
        self.seconds_each: Final = time.perf_counter() - started

    def __call__(self, batch: Batch[bytes | Input]) -> Sequence[Answer | Exception]:
        """One answer or failure for each item; a bad picture never reaches the network."""
        inputs = [self._input(item, batch.is_wanted, at) for at, item in enumerate(batch.items)]
        good = [one for one in inputs if isinstance(one, Input)]
        if good:
            self._observer.batch(sum(len(one.rows) for one in good), batch.reason)
        network = self._alone if batch.alone else self._together
        answers = iter(self._answers(good, network))
        return [next(answers) if isinstance(one, Input) else one for one in inputs]

    def spread(self) -> Plan:
        """Load what runs side by side, where this runtime gains from it, and plan for it."""
        if self._threads > 1 and self._alone.concurrent:
            self._together = self._load(threads=1)
            self.plan = autotune.many_runners(self._threads, self._max_batch)
        return self.plan

    def survey(self, folder: Path, activity: Callable[[], int | None]) -> Plan:
        """Choose the plan: an earlier one from `folder`, else by measuring in idle moments.

        `activity` counts the pictures that came so far, None while some are inside. Raises
        Interrupted after `stop`.
        """
        path = folder / f"{self._key()}.json"
        with _only_one(path, self._stopped.is_set):
            found = autotune.read(path)
            if found is None:
                found = self._measure(activity)
                _keep(path, found)
            else:
                log.info("%s: plan of an earlier start: %s", self._artifact.manifest.name, found)
        if found.threads > 1:
            self._together = self._alone
        elif found.alone_threads == 1:
            self._alone = self._together
        self.plan = found
        return found

    def stop(self) -> None:
        """Measure no more."""
        self._stopped.set()

    def _key(self) -> str:
        """What a plan depends on: the model's files, the runtime, the processors."""
        manifest = self._artifact.manifest
        parts = [*manifest.files.values(), self.runtime_name, self._threads, self._max_batch]
        return hashlib.sha256(" ".join(map(str, parts)).encode()).hexdigest()[:32]

    def _measure(self, activity: Callable[[], int | None]) -> Plan:
        started = time.perf_counter()
        found = autotune.Survey(
            self._alone,
            self._together if self._together is not self._alone else None,
            threads=self._threads,
            shape=self._artifact.manifest.preprocess.input_shape,
            max_batch=self._max_batch,
            activity=activity,
            stopped=self._stopped.is_set,
        ).plan()
        seconds = time.perf_counter() - started
        log.info("%s: plan measured in %.1f s: %s", self._artifact.manifest.name, seconds, found)
        return found

    def _input(
        self, item: bytes | Input, is_wanted: Callable[[int], bool], at: int
    ) -> Input | Exception:
        try:
            found = item if isinstance(item, Input) else self._decoder.decode(item)
        except Exception as error:
            return error
        # Decoding takes its time: whoever has gone meanwhile costs no forward pass.
        return found if is_wanted(at) else ClosedError("Nobody waits for this picture any more.")

    def _answers(self, inputs: list[Input], network: Runtime) -> list[Answer | Exception]:
        """Probabilities of inputs in one forward pass; one that makes it fail fails alone."""
        if not inputs:
            return []
        started = time.perf_counter()
        try:
            outputs, scores = self._forward(_joined(inputs), network)
        except Exception as error:
            if len(inputs) == 1:
                return [error]
            return [answer for one in inputs for answer in self._answers([one], network)]
        seconds = time.perf_counter() - started
        answers: list[Answer | Exception] = []
        start = 0
        for one in inputs:
            end = start + len(one.rows)
            ood_scores = None if scores is None else scores[start:end]
            answers.append(Answer(outputs[start:end], ood_scores, one.seconds, seconds))
            start = end
        return answers

    def _forward(self, rows: Floats, network: Runtime) -> tuple[Floats, Floats | None]:
        outputs, kind = network(rows), self._artifact.manifest.output
        probabilities = apply.probabilities(outputs, kind, self._temperature)
        return probabilities, apply.ood_scores(outputs) if kind == "logits" else None

    def _warm_up(self) -> None:
        manifest, folder = self._artifact.manifest, self._artifact.folder
        blank = np.zeros((1, *manifest.preprocess.input_shape), dtype=np.float32)
        try:
            shape = self._forward(blank, self._alone)[0].shape
        except InferenceError as error:
            raise ArtifactError(f"{folder}: the network fails on a blank input") from error
        if shape != (1, len(manifest.labels)):
            raise ArtifactError(
                f"{folder}: the network gives {shape[-1]} outputs, but the manifest has "
                f"{len(manifest.labels)} labels"
            )


def _joined(inputs: list[Input]) -> Floats:
    return inputs[0].rows if len(inputs) == 1 else np.concatenate([one.rows for one in inputs])


@contextmanager
def _only_one(path: Path, stopped: Callable[[], bool]) -> Iterator[None]:
    """Let one of several workers measure while the others wait for what it finds."""
    lock = FileLock(path.with_suffix(".lock"), thread_local=False)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        while not lock.is_locked:
            if stopped():
                raise autotune.Interrupted
            with suppress(Timeout):
                lock.acquire(timeout=0.5)
    except (OSError, NotImplementedError):  # nothing can be kept there: each worker measures
        log.warning("the measured plan cannot be kept in %s", path.parent)
    try:
        yield
    finally:
        lock.release()


def _keep(path: Path, found: Plan) -> None:
    with suppress(OSError):  # said already
        autotune.write(path, found)
