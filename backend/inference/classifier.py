"""Classifies image files with one model. Example:

artifact = artifact.read(Path("models/mnist-cnn"))
classifier = Classifier(artifact, partial(runtimes.load, artifact))
result = await classifier.classify(Path("seven.png").read_bytes())
result.top(3)
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from itertools import repeat
from pathlib import Path
from typing import Final

import numpy as np

from backend.inference.admission import WaitEstimator
from backend.inference.autotune import Interrupted, Plan
from backend.inference.batcher import NO_DEADLINE, Batcher
from backend.inference.decoder import Decoder, Input, SharedImage
from backend.inference.engine import Engine, InferenceResult, Item, Load
from backend.inference.errors import ClosedError, DeadlineError, QueueFullError
from backend.inference.explain import Explainer, Explanation
from backend.inference.images.image_reader import ImageReader
from backend.inference.models.artifact import Artifact, Manifest
from backend.inference.observer import Observer
from backend.inference.preprocessing import model_input
from backend.inference.types import ClassificationResult, Floats, Timings
from backend.resources.cpus import cpu_limit, threads_per_worker
from calibration.apply import SetSize

# The wait is only an estimate: images whose estimated wait exceeds this share of their time limit
# are rejected.
_MAX_WAIT_SHARE: Final = 0.7


class Classifier:
    """Decode -> preprocess -> batch -> forward pass -> calibrate -> label, for one model.

    The batcher's threads decode and run images. Only tiny images are decoded on the event loop,
    where a hand-over to a thread would cost more. Images in flight are counted by the event loop
    alone.
    """

    def __init__(
        self,
        artifact: Artifact,
        load: Load,
        *,
        threads: int | None = None,
        reader: ImageReader | None = None,
        max_batch: int = 32,
        queue_size: int = 512,
        scaled_decoding: bool = True,
        observer: Observer | None = None,
        memory: int | None = None,
    ) -> None:
        """Load the network for `threads` (default: the available processors) and warm it up.

        `memory` limits the bytes that forward passes need (default: no limit). Raise ArtifactError
        if the network does not return one finite number per label.
        """
        threads = threads or threads_per_worker(cpu_limit())
        self.manifest: Final[Manifest] = artifact.manifest
        calibration = artifact.manifest.calibration
        self._set_size: Final = SetSize(calibration.sets) if calibration else None
        self._max_ood_score: Final = calibration.max_ood_score if calibration else None
        self._observer = observer = observer or Observer()
        self.decoder: Final = Decoder(
            artifact.manifest.preprocess, reader or ImageReader(), scaled=scaled_decoding
        )
        self._engine = Engine(
            artifact,
            load,
            self.decoder,
            threads=threads,
            max_batch=max_batch,
            observer=observer,
            memory=memory,
        )
        self._decoders = ThreadPoolExecutor(threads, thread_name_prefix="prism-decode")
        self._queue_size = queue_size
        self._estimator = WaitEstimator(self._engine.seconds_per_image)
        self._received = 0
        self._batcher: Batcher[Item, InferenceResult] = Batcher(
            self._engine,
            runners=self.plan.runners,
            max_batch=self.plan.max_batch,
            queue_size=queue_size,
            weigh=_count_rows,
        )
        self._explainer: Final = Explainer(
            self._engine, self.decoder, self._batcher, self._decoders
        )

    @property
    def runtime_name(self) -> str:
        """`onnx` or `torch`."""
        return self._engine.runtime_name

    @property
    def plan(self) -> Plan:
        """The current plan: threads, runners and batch size."""
        return self._engine.plan

    @property
    def queued(self) -> int:
        """Number of images that wait for their forward pass."""
        return self._batcher.queued

    @property
    def activity(self) -> int | None:
        """Number of images received so far; None while images are in flight."""
        return None if self._estimator.in_flight else self._received

    def has_capacity(self, time_limit: float | None = None) -> bool:
        """Return whether an image would be admitted and finished within `time_limit` seconds."""
        in_time = time_limit is None or self._estimator.wait <= _MAX_WAIT_SHARE * time_limit
        return in_time and self._estimator.in_flight < self._queue_size

    def require_capacity(self, time_limit: float | None = None) -> None:
        """Raise QueueFullError, and count a rejection, unless there is capacity."""
        if self.has_capacity(time_limit):
            return
        is_full = self._estimator.in_flight >= self._queue_size
        self._observer.shed("queue_full" if is_full else "too_slow")
        raise QueueFullError(
            "The service is busy and cannot classify this image in time. Try again later.",
            retry_after=self._estimator.wait,
        )

    async def classify(
        self, data: bytes | SharedImage, time_limit: float | None = None
    ) -> ClassificationResult:
        """Classify one image file.

        Cancelling the call drops the image before it costs a forward pass. Raise ImageError for an
        image that cannot be used, QueueFullError or ClosedError if no work is accepted,
        DeadlineError after `time_limit` seconds, InferenceError if the model fails.
        """
        async with self._admit(time_limit) as deadline:
            item = await self._decode(data)
            queued_at = time.perf_counter()
            result = await self._batcher.submit(item, deadline)
            elapsed = time.perf_counter() - queued_at
            queue = elapsed - result.inference - (0 if isinstance(item, Input) else result.decode)
            self._observer.answered(result.decode, queue, result.inference)
            return self._label(result, queue)[0]

    async def classify_inputs(
        self, rows: Floats, time_limit: float | None = None
    ) -> list[ClassificationResult]:
        """Classify preprocessed inputs of shape (N, *input).

        Raise the same errors as `classify`, except ImageError.
        """
        size = self._engine.max_batch
        parts = [Input(rows[start : start + size]) for start in range(0, len(rows), size)]
        async with self._admit(time_limit) as deadline:
            queued_at = time.perf_counter()
            results = [await self._batcher.submit(part, deadline) for part in parts]
            inference = sum(result.inference for result in results)
            queue = time.perf_counter() - queued_at - inference
            self._observer.answered(0.0, queue, inference)
            return [each for result in results for each in self._label(result, queue)]

    async def explain(
        self, data: bytes, result: ClassificationResult, time_limit: float | None = None
    ) -> Explanation | None:
        """Explain the most probable label of an image file's `result`; see `Explainer.explain`."""
        return await self._explainer.explain(data, result.top(1)[0], time_limit)

    def model_input_png(self, data: bytes) -> bytes:
        """Return the model input made from an image file, as a PNG. Blocks.

        Raise ImageError for an image that cannot be used.
        """
        return model_input.to_png(self.decoder.decode(data).rows[0], self.manifest.preprocess)

    def use_default_plan(self) -> None:
        """Use the plan that suits most networks. Blocks."""
        self._apply(self._engine.use_default_plan())

    def autotune(self, plans: Path, activity: Callable[[], int | None]) -> None:
        """Use the plan cached in the folder `plans`, or measure it while the service is idle.

        Blocks until then, or until `close`. `activity` returns for the whole service what the
        property `activity` returns for this model.
        """
        with suppress(Interrupted):
            self._apply(self._engine.autotune(plans, activity))

    def close(self) -> None:
        """Finish queued work and stop the threads; do not wait for images being decoded."""
        self._engine.stop()
        self._decoders.shutdown(wait=False, cancel_futures=True)
        self._batcher.close()

    @asynccontextmanager
    async def _admit(self, time_limit: float | None) -> AsyncIterator[float]:
        """Admit a request, yield its deadline, and report how it ends to the observer."""
        self.require_capacity(time_limit)
        self._observer.admitted()
        started = time.perf_counter()
        self._estimator.enter(started)
        self._received += 1
        self._observer.depth(self._estimator.in_flight)
        is_served = True
        try:
            async with asyncio.timeout(time_limit):
                yield started + time_limit if time_limit else NO_DEADLINE
        except (TimeoutError, DeadlineError) as error:
            is_served = False
            self._observer.expired()
            raise DeadlineError(
                f"The classification took longer than {time_limit:g} s and was cancelled. "
                "Try again later."
            ) from error
        except asyncio.CancelledError:
            is_served = False
            self._observer.abandoned()
            raise
        except Exception as error:
            self._observer.failed(error)
            raise
        finally:
            self._estimator.leave(time.perf_counter(), served=is_served)
            self._observer.depth(self._estimator.in_flight)

    async def _decode(self, data: bytes | SharedImage) -> Item:
        """Decode a tiny image here, and others in the decoder threads if the plan has any."""
        if (tiny := self.decoder.decode_tiny(data)) is not None:
            return tiny
        if not self.plan.decoders:
            return data
        try:
            decoding = self._decoders.submit(self.decoder.decode, data)
        except RuntimeError as error:  # the executor is shut down
            raise ClosedError from error
        return await asyncio.wrap_future(decoding)

    def _label(self, result: InferenceResult, queue: float) -> list[ClassificationResult]:
        timings = Timings(result.decode * 1e3, queue * 1e3, result.inference * 1e3)
        ranking = np.argsort(-result.probabilities, axis=1, kind="stable")
        scores = repeat(None) if result.ood_scores is None else result.ood_scores.tolist()
        rows = zip(result.probabilities, ranking, scores, strict=False)
        labels, fits, size = self.manifest.labels, self._is_in_distribution, self._set_size
        return [
            ClassificationResult(labels, row, order, timings, score, fits(score), size)
            for row, order, score in rows
        ]

    def _is_in_distribution(self, ood_score: float | None) -> bool | None:
        if ood_score is None or self._max_ood_score is None:
            return None
        return ood_score <= self._max_ood_score

    def _apply(self, plan: Plan) -> None:
        self._batcher.resize(plan.runners, plan.max_batch)


def _count_rows(item: Item) -> int:
    return len(item.rows) if isinstance(item, Input) else 1
