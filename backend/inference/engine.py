"""Runs the batches of one model: decoding, one forward pass, calibrated probabilities.

The engine holds one or two loaded networks: a wide one that uses all processors, for a single
image, and a narrow one with one thread, for concurrent runners.
"""

import hashlib
import logging
import math
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final, cast

import numpy as np
from filelock import FileLock, Timeout

from backend.inference import autotune, comparison, probes, runtimes
from backend.inference.autotune import Autotuner, Plan
from backend.inference.batcher import Batch
from backend.inference.comparison import Comparison
from backend.inference.decoder import Decoder, Input, SharedImage
from backend.inference.errors import ArtifactError, ClosedError, InferenceError
from backend.inference.models.artifact import Artifact, to_json
from backend.inference.observer import Observer
from backend.inference.preprocessing.model_input import mean_brightness, preprocess, warm_up
from backend.inference.runtimes import Alternative, FeatureRuntime, MappingRuntime, Runtime
from backend.inference.types import Floats
from backend.resources.cpus import cpu_model
from calibration import apply
from calibration.sigmoid import BINARY, SINGLE_LABEL, ProbabilityMap

log = logging.getLogger("prism.engine")


Item = bytes | SharedImage | Input

# Memory of a forward pass in ONNX Runtime per image, as a multiple of the input: measured as 28 for
# EfficientNet-Lite2 and 18 for MobileNetV2. The runtime keeps it.
_ACTIVATIONS: Final = 30

# Seconds of a forward pass of one image that costs less than a hand-over to a thread.
_QUICK_SECONDS: Final = 0.001
_QUICK_PASSES: Final = 5
_BUSY_SECONDS: Final = 0.1  # between two looks whether the service is idle

# Returns the network whose forward pass uses `threads` threads: `partial(runtimes.load, artifact)`.
Load = Callable[..., Runtime]


@dataclass(frozen=True, slots=True)
class InferenceResult:
    """The result for one item of a batch, which has n rows."""

    probabilities: Floats  # calibrated, shape (n, C)
    ood_scores: Floats | None  # shape (n,); None if the model returns probabilities
    decode: float  # seconds of decoding
    inference: float  # seconds of the forward pass
    features: Floats | None = None  # of the last layer, shape (n, D), if the network returns them
    brightness: float | None = None  # mean of the input, in [0, 1]


class Engine:
    """Runs batches of image files and inputs through one model. Thread-safe."""

    def __init__(
        self,
        artifact: Artifact,
        load: Load,
        decoder: Decoder,
        *,
        threads: int,
        max_batch: int,
        observer: Observer,
        memory: int | None = None,
        decoding_memory: int | None = None,
        alternatives: Sequence[Alternative] = (),
    ) -> None:
        """Load the network and warm it up with a blank input.

        A measured plan may replace the network by one of `alternatives`.
        `memory` limits the bytes that concurrent forward passes in ONNX Runtime need. An image that
        needs more than `decoding_memory` bytes fails with MemoryExceededError (default: it waits
        for the memory). Raise
        ArtifactError if the network does not return one finite number per label.
        """
        self._artifact: Final = artifact
        calibration = artifact.manifest.calibration
        self._to_probabilities: Final = ProbabilityMap(
            artifact.manifest.task, artifact.manifest.output, calibration
        )
        # The score requires the logits of a softmax.
        self._has_scores: Final = (
            artifact.manifest.task == SINGLE_LABEL and artifact.manifest.output == "logits"
        )
        self._ood_method: Final = calibration.ood_method if calibration else "energy"
        self._load = load
        self._decoder = decoder
        self._threads = threads
        self._observer = observer
        self._decoding_memory = decoding_memory
        self._stopped = threading.Event()
        self._wide = self._narrow = load(threads=threads)
        self._alternatives: Final = tuple(alternatives)
        if memory is not None and self._wide.name != "torch":
            # While they are compared, two networks hold memory.
            share = memory // 2 if alternatives else memory
            max_batch = min(max_batch, self._affordable_batch(share))
        self.max_batch: Final = max_batch
        self.plan = autotune.single_runner_plan(self._wide, threads, max_batch)
        self.dimensions: int | None = None  # of the features; None if the network returns none
        self._has_features: Final = runtimes.has_features(self._wide)
        self._default_runtime: Final = self._wide.name
        self._warm_up()
        started = time.perf_counter()
        self._warm_up()
        self.seconds_per_image: Final = time.perf_counter() - started
        self._quick: Runtime | None = None
        self.quick_seconds: float | None = None
        if threads == 1:
            self._measure_quickness(self._wide)

    def __call__(self, batch: Batch[Item]) -> Sequence[InferenceResult | Exception]:
        """Return one result or exception per item; broken images never reach the network."""
        decoded = [self._decode(item, batch.is_pending, i) for i, item in enumerate(batch.items)]
        inputs = [item for item in decoded if isinstance(item, Input)]
        if inputs:
            self._observer.batch(sum(len(item.rows) for item in inputs), batch.reason)
        network = self._wide if batch.is_single else self._narrow
        results = iter(self._run(inputs, network))
        return [next(results) if isinstance(item, Input) else item for item in decoded]

    def run_quick(self, batch: Batch[Input]) -> Sequence[InferenceResult | Exception]:
        """Return one result or exception per input, from a forward pass with one thread."""
        self._observer.batch(sum(len(item.rows) for item in batch.items), batch.reason)
        return self._run(batch.items, self._quick or self._narrow)

    def run_inputs(self, inputs: Sequence[Input]) -> list[InferenceResult | Exception]:
        """Return one result or exception per input, from forward passes in the calling thread."""
        results: list[InferenceResult | Exception] = []
        for start in range(0, len(inputs), self.max_batch):
            results += self._run(list(inputs[start : start + self.max_batch]), self._narrow)
        return results

    @property
    def runtime_name(self) -> str:
        """The runtime of the forward passes: `onnx`, `openvino` or `torch`."""
        return self.plan.used.runtime if self.plan.used else self._default_runtime

    def activation_map(self, row: Floats, label: int) -> Floats | None:
        """Return the class activation map (h, w) of one input for the label with the index `label`.

        Return None if the network has no map, or if another label is most probable for this input.
        The map of a binary model is that of its one output, which is not a label's index.
        """
        if not isinstance(self._narrow, MappingRuntime) or self._artifact.manifest.task == BINARY:
            return None
        found = self._narrow.activation_maps(row[np.newaxis])
        if found is None:
            return None
        (outputs,), (heat,) = found
        return heat if outputs.argmax() == label else None

    def use_default_plan(self) -> Plan:
        """Load the network for concurrent runners if the runtime gains from it; return the plan."""
        if self._threads > 1 and self._wide.concurrent:
            self._narrow = self._load(threads=1)
            self._measure_quickness(self._narrow)
            self.plan = autotune.multi_runner_plan(self._threads, self.max_batch)
        return self.plan

    def autotune(self, folder: Path, activity: Callable[[], int | None]) -> Plan:
        """Use the plan cached in `folder`, or measure one while the service is idle and cache it.

        `activity` returns the number of images received so far, or None while images are in
        flight. Raise Interrupted after `stop`.
        """
        path = folder / f"{self._plan_key()}.json"
        with _exclusive(path, self._stopped.is_set):
            plan = autotune.read_plan(path)
            if plan is None:
                plan = self._measure_plan(activity)
                with suppress(OSError):  # _exclusive has logged a warning
                    autotune.write_plan(path, plan)
            else:
                log.info("%s: cached plan: %s", self._artifact.manifest.name, plan)
                self._use(plan.used)
        if plan.threads > 1:
            self._narrow = self._wide
        elif plan.alone_threads == 1:
            self._wide = self._narrow
        self.plan = plan
        return plan

    def stop(self) -> None:
        """Stop measuring."""
        self._stopped.set()

    def _plan_key(self) -> str:
        """Return a hash of what a plan depends on: manifest, runtimes, processors."""
        manifest = self._artifact.manifest
        parts = [to_json(manifest), self._default_runtime, self._threads, self.max_batch]
        parts += runtimes.versions()
        parts += [f"{each.runtime}/{each.precision}" for each in self._alternatives]
        parts.append(cpu_model())  # another one may round or overflow differently
        return hashlib.sha256(" ".join(map(str, parts)).encode()).hexdigest()[:32]

    def _measure_plan(self, activity: Callable[[], int | None]) -> Plan:
        started = time.perf_counter()
        tuner = self._create_autotuner(activity)
        plan = tuner.choose_plan()
        compared = [
            comparison.compare(
                each,
                self._artifact.manifest,
                tuner.wide,
                self._probe_inputs(activity),
                partial(tuner.compare_speed, plan),
                threads=self._threads,
            )
            for each in self._alternatives
        ]
        compared = comparison.choose(compared)
        if used := next((each for each in compared if each.used), None):
            self._use(used)
            plan = self._create_autotuner(activity).choose_plan()
        plan = plan.model_copy(update={"comparisons": tuple(compared)})
        seconds = time.perf_counter() - started
        log.info("%s: plan measured in %.1f s: %s", self._artifact.manifest.name, seconds, plan)
        return plan

    def _create_autotuner(self, activity: Callable[[], int | None]) -> Autotuner:
        return Autotuner(
            self._wide,
            self._narrow if self._narrow is not self._wide else None,
            threads=self._threads,
            shape=self._artifact.manifest.preprocess.input_shape,
            max_batch=self.max_batch,
            activity=activity,
            is_stopped=self._stopped.is_set,
        )

    def _probe_inputs(self, activity: Callable[[], int | None]) -> Iterator[Floats]:
        """Yield inputs from generated images, each as soon as the service is idle."""
        spec = self._artifact.manifest.preprocess
        for image in probes.draw_probes(spec):
            while activity() is None and not self._stopped.wait(_BUSY_SECONDS):
                pass
            if self._stopped.is_set():
                raise autotune.Interrupted
            yield preprocess(image, spec)

    def _use(self, used: Comparison | None) -> None:
        """Load the networks of the alternative that a plan uses, if any."""
        for each in self._alternatives:
            if used and (each.runtime, each.precision) == (used.runtime, used.precision):
                is_single = self._narrow is self._wide
                wide = each.load(threads=self._threads)
                self._narrow = wide if is_single else each.load(threads=1)
                self._wide = wide
                if not is_single or self._threads == 1:
                    self._measure_quickness(self._narrow)

    def _decode(
        self, item: Item, is_pending: Callable[[int], bool], index: int
    ) -> Input | Exception:
        try:
            decoded = (
                item
                if isinstance(item, Input)
                else self._decoder.decode(item, self._decoding_memory)
            )
        except Exception as error:
            return error
        # Drop items that were cancelled while they were decoded.
        return decoded if is_pending(index) else ClosedError("The request was cancelled.")

    def _run(self, inputs: list[Input], network: Runtime) -> list[InferenceResult | Exception]:
        """Run one forward pass; if it fails, run each input alone so that only bad ones fail."""
        if not inputs:
            return []
        started = time.perf_counter()
        try:
            probabilities, scores, features = self._forward(_concatenate(inputs), network)
        except Exception as error:
            if len(inputs) == 1:
                return [error]
            return [result for item in inputs for result in self._run([item], network)]
        seconds = time.perf_counter() - started
        results: list[InferenceResult | Exception] = []
        start = 0
        for item in inputs:
            end = start + len(item.rows)
            ood_scores = None if scores is None else scores[start:end] + item.ood_penalty
            part = None if features is None else features[start:end]
            brightness = mean_brightness(item.rows, self._decoder.spec)
            results.append(
                InferenceResult(
                    probabilities[start:end], ood_scores, item.seconds, seconds, part, brightness
                )
            )
            start = end
        return results

    def _forward(
        self, rows: Floats, network: Runtime
    ) -> tuple[Floats, Floats | None, Floats | None]:
        """Return probabilities, out-of-distribution scores and features."""
        features = None
        if self._has_features:
            outputs, features = cast(FeatureRuntime, network).features(rows)
        else:
            outputs = network(rows)
        try:
            probabilities = self._to_probabilities(outputs)
        except apply.OutputError as error:
            raise InferenceError(str(error)) from error
        if not self._has_scores:
            return probabilities, None, features
        return (
            probabilities,
            apply.ood_scores(outputs, probabilities, self._ood_method),
            features,
        )

    def _affordable_batch(self, memory: int) -> int:
        """Return the largest batch that every runner can run within `memory` bytes together."""
        inputs = math.prod(self._artifact.manifest.preprocess.input_shape)
        image = _ACTIVATIONS * inputs * np.dtype(np.float32).itemsize
        return max(1, memory // (self._threads * image))

    def _measure_quickness(self, network: Runtime) -> None:
        """Use a network with one thread on the event loop if its forward pass is short enough.

        Only those in ONNX Runtime with small inputs are: a forward pass there cannot be given up.
        """
        best = float("inf")
        if network.name == "onnx" and self._decoder.has_small_input:
            blank = self._blank_input()
            for _ in range(_QUICK_PASSES):
                started = time.perf_counter()
                network(blank)
                best = min(best, time.perf_counter() - started)
        is_quick = best <= _QUICK_SECONDS
        self._quick, self.quick_seconds = (network, best) if is_quick else (None, None)

    def _blank_input(self) -> Floats:
        shape = self._artifact.manifest.preprocess.input_shape
        return np.zeros((1, *shape), dtype=np.float32)

    def _warm_up(self) -> None:
        manifest, folder = self._artifact.manifest, self._artifact.folder
        warm_up(manifest.preprocess)
        try:
            probabilities, _, features = self._forward(self._blank_input(), self._wide)
        except InferenceError as error:
            raise ArtifactError(f"{folder}: the network fails on a blank input") from error
        self.dimensions = None if features is None else features.shape[1]
        shape = probabilities.shape
        if shape != (1, len(manifest.labels)):
            raise ArtifactError(
                f"{folder}: the network returns {shape[-1]} outputs, but the manifest has "
                f"{len(manifest.labels)} labels"
            )


def _concatenate(inputs: list[Input]) -> Floats:
    return inputs[0].rows if len(inputs) == 1 else np.concatenate([item.rows for item in inputs])


@contextmanager
def _exclusive(path: Path, is_stopped: Callable[[], bool]) -> Iterator[None]:
    """Hold the lock of a plan: one worker measures, the others wait and read its plan."""
    lock = FileLock(path.with_suffix(".lock"), thread_local=False)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        while not lock.is_locked:
            if is_stopped():
                raise autotune.Interrupted
            with suppress(Timeout):
                lock.acquire(timeout=0.5)
    except (OSError, NotImplementedError):  # the folder is not writable: each worker measures
        log.warning("The measured plan cannot be cached in %s", path.parent)
    try:
        yield
    finally:
        lock.release()
