"""Classifies image files with one model. Example:

artifact = artifact.read(Path("models/mnist-cnn"))
classifier = Classifier(artifact, partial(runtimes.load, artifact))
result = await classifier.classify(Path("seven.png").read_bytes())
result.top(3)
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from operator import attrgetter
from pathlib import Path
from typing import Any, Final, TypeVar

from backend.inference.admission import Admission, WorkRejectedError
from backend.inference.autotune import Interrupted, Plan
from backend.inference.batcher import Batch, Batcher
from backend.inference.decoder import Decoder, Input, SharedImage
from backend.inference.engine import Engine, InferenceResult, Item, Load
from backend.inference.errors import NoFeaturesError
from backend.inference.explain import Explainer, Explanation
from backend.inference.images.decoding_cost import DecodingCost
from backend.inference.images.image_reader import ImageReader, MemoryExceededError
from backend.inference.labeling import Labeler
from backend.inference.large_images import LargeImages
from backend.inference.loop_batcher import LoopBatcher
from backend.inference.models.artifact import Artifact, Backbone, Manifest
from backend.inference.observer import Observer
from backend.inference.preprocessing import model_input
from backend.inference.runtimes import Alternative
from backend.inference.tracking import Tracking, deadline_error
from backend.inference.types import ClassificationResult, Floats, Timings
from backend.resources.cpus import cpu_limit, threads_per_worker
from calibration import apply
from calibration.sigmoid import MULTI_LABEL

T = TypeVar("T")

_UNKNOWN_SECONDS: Final = 1.0  # cost of decoding an image whose header hides its size


class Classifier:
    """Decode -> preprocess -> batch -> forward pass -> calibrate -> label, for one model.

    The batcher's threads decode and run images, except large ones, which LargeImages decodes. Small
    images of a small network are decoded and run on the event loop, and tiny images of another
    network with small inputs are decoded there, because a hand-over to a thread would cost more.
    All queues are fair between clients. Images in flight are counted by the event loop alone.
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
        large_images: LargeImages | None = None,
        alternatives: Sequence[Alternative] = (),
    ) -> None:
        """Load the network for `threads` (default: the available processors) and warm it up.

        `memory` limits the bytes that forward passes need (default: no limit). A measured plan may
        replace the network by one of `alternatives`. Several models may share `large_images`, which
        have the same `reader`. Raise ArtifactError if the network does not return one finite number
        per label.
        """
        threads = threads or threads_per_worker(cpu_limit())
        self.manifest: Final[Manifest] = artifact.manifest
        self._label: Final = Labeler(artifact.manifest)
        self._backbone: Final = Backbone(
            name=artifact.manifest.name, sha256=artifact.network_sha256
        )
        observer = observer or Observer()
        reader = reader or ImageReader()
        self.decoder: Final = Decoder(artifact.manifest.preprocess, reader, scaled=scaled_decoding)
        self._large = large_images or LargeImages(reader, threads)
        self._owns_large = large_images is None
        self._engine = Engine(
            artifact,
            load,
            self.decoder,
            threads=threads,
            max_batch=max_batch,
            observer=observer,
            memory=memory,
            decoding_memory=self._large.ordinary_memory,
            alternatives=alternatives,
        )
        # Other than an executor, a batcher replaces threads that do not return.
        self._decoders: Batcher[Callable[[], Any], Any] = Batcher(
            _call, runners=threads, max_batch=1, name="prism-decode"
        )
        self._admission = Admission(queue_size, self._engine.seconds_per_image)
        self._tracking: Final = Tracking(observer)
        self._batcher: Batcher[Item, InferenceResult] = Batcher(
            self._engine,
            runners=self.plan.runners,
            max_batch=self.plan.max_batch,
            queue_size=queue_size,
            weigh=_count_rows,
        )
        self._loop_batcher: LoopBatcher[bytes | SharedImage, Input, InferenceResult] = LoopBatcher(
            partial(self.decoder.decode, reserved=self._large.ordinary_memory),
            self._engine.run_quick,
            lambda: self._engine.quick_seconds or 0.0,
            max_batch=self._engine.max_batch,
            queue_size=queue_size,
        )
        self._turn_to_explain: Final = asyncio.Semaphore()
        self._explainer: Final = self.create_explainer(
            self._engine.activation_map, attrgetter("probabilities")
        )

    @property
    def runtime_name(self) -> str:
        """`onnx`, `openvino` or `torch`."""
        return self._engine.runtime_name

    @property
    def plan(self) -> Plan:
        """The current plan: threads, runners and batch size."""
        return self._engine.plan

    @property
    def backbone(self) -> Backbone:
        """The network that the features come from: this model's own."""
        return self._backbone

    @property
    def dimensions(self) -> int | None:
        """Number of features of an image; None if the network returns none."""
        return self._engine.dimensions

    @property
    def queued(self) -> int:
        """Number of images that wait for their forward pass."""
        return self._batcher.queued + self._loop_batcher.queued

    @property
    def activity(self) -> int | None:
        """Number of images received so far; None while images are in flight."""
        return self._tracking.activity

    def has_capacity(
        self, time_limit: float | None = None, client: str = "", data: bytes | None = None
    ) -> bool:
        """Return whether an image of a client would be admitted and finished within `time_limit`.

        Without `data`, an ordinary image is assumed.
        """
        try:
            self._require(time_limit, client, self.decoder.estimate_cost(data) if data else None)
        except WorkRejectedError:
            return False
        return True

    def require_capacity(
        self, time_limit: float | None = None, client: str = "", tracking: Tracking | None = None
    ) -> None:
        """Raise QueueFullError, and count a rejection, unless there is capacity.

        An ordinary image is assumed; `classify` checks what an image costs. `tracking` counts the
        rejection (default: that of this model).
        """
        self._require_or_count(time_limit, client, None, tracking or self._tracking)

    def require_features(self) -> None:
        """Raise NoFeaturesError if the network returns no features."""
        if self.dimensions is None:
            raise NoFeaturesError(
                f"The model {self.manifest.name} returns no features. Choose a model whose network "
                "ends in global pooling and one linear layer, such as photos."
            )

    async def classify(
        self, data: bytes | SharedImage, time_limit: float | None = None, client: str = ""
    ) -> ClassificationResult:
        """Classify one image file for a client, which is any string that identifies it.

        Cancelling the call drops the image before it costs a forward pass. Raise ImageError for an
        image that cannot be used, QueueFullError or ClosedError if no work is accepted,
        DeadlineError after `time_limit` seconds, InferenceError if the model fails.
        """
        result, queue = await self.infer(data, time_limit, client, self._tracking)
        timings = make_timings(result, queue)
        return self._label(result.probabilities, result.ood_scores, timings, result.brightness)[0]

    async def embed(self, data: bytes, time_limit: float | None = None, client: str = "") -> Floats:
        """Return the L2-normalized features (D,) of one image file.

        Raise NoFeaturesError if the network returns none, and the errors of `classify`.
        """
        self.require_features()
        result, _ = await self.infer(data, time_limit, client, self._tracking)
        embedding: Floats = unit_features(result)[0]
        return embedding

    async def infer(
        self,
        data: bytes | SharedImage,
        time_limit: float | None,
        client: str,
        tracking: Tracking,
    ) -> tuple[InferenceResult, float]:
        """Run one image file through the network; return the result, and the seconds in the queue.

        `tracking` counts the image: that of the model that answers, whose backbone this model may
        be. Raise the errors of `classify`.
        """
        cost = self.decoder.estimate_cost(data)
        is_large = self._large.is_large(cost)
        self._require_or_count(time_limit, client, cost, tracking)
        with tracking.track(time_limit) as deadline:
            answer = None
            if self._engine.quick_seconds and self.decoder.is_quick(data, cost):
                answer = await self._classify_quick(data, cost, client, deadline)
            if answer is None:
                async with asyncio.timeout(time_limit):
                    answer = await self._classify_in_threads(
                        data, cost, client, deadline, is_large=is_large
                    )
            result, queue = answer
            tracking.observer.answered(result.decode, queue, result.inference)
            return answer

    async def classify_inputs(
        self, rows: Floats, time_limit: float | None = None, client: str = ""
    ) -> list[ClassificationResult]:
        """Classify preprocessed inputs of shape (N, *input).

        Raise the same errors as `classify`, except ImageError.
        """
        results, queue = await self.infer_inputs(rows, time_limit, client, self._tracking)
        return [
            each
            for result in results
            for each in self._label(
                result.probabilities, result.ood_scores, make_timings(result, queue)
            )
        ]

    async def infer_inputs(
        self, rows: Floats, time_limit: float | None, client: str, tracking: Tracking
    ) -> tuple[list[InferenceResult], float]:
        """Run inputs of shape (N, *input) through the network, as `infer` does with an image."""
        size = self._engine.max_batch
        parts = [Input(rows[start : start + size]) for start in range(0, len(rows), size)]
        seconds = self._engine.seconds_per_image
        self._require_or_count(time_limit, client, None, tracking)
        with tracking.track(time_limit) as deadline:
            queued_at = time.perf_counter()
            with self._admission.track(client, seconds * len(rows)):
                async with asyncio.timeout(time_limit):
                    results = await self._run_parts(parts, deadline, client)
            inference = sum(result.inference for result in results)
            queue = time.perf_counter() - queued_at - inference
            tracking.observer.answered(0.0, queue, inference)
            return results, queue

    async def _run_parts(
        self, parts: Sequence[Input], deadline: float, client: str
    ) -> list[InferenceResult]:
        """Run several inputs; queue only as many at a time as keep the runners busy."""
        waiting: deque[asyncio.Future[InferenceResult]] = deque()
        results = []
        try:
            for part in parts:
                if len(waiting) > self.plan.runners:
                    results.append(await waiting.popleft())
                cost = self._engine.seconds_per_image * len(part.rows)
                waiting.append(self._batcher.submit(part, deadline, client, cost))
            while waiting:
                results.append(await waiting.popleft())
        finally:
            for future in waiting:
                future.cancel()
        return results

    def classify_all(self, images: Sequence[bytes]) -> list[ClassificationResult | Exception]:
        """Classify image files in the calling thread; return one result or exception per image.

        For jobs: without queue, deadline and fairness, which cost as much as a small network. Call
        `use_default_plan` first if several threads call it. Decoding waits for the reader's memory.
        """
        return [
            each
            if isinstance(each, Exception)
            else self._label(
                each.probabilities, each.ood_scores, make_timings(each, 0), each.brightness
            )[0]
            for each in self.infer_all(images)
        ]

    def infer_all(self, images: Sequence[bytes]) -> list[InferenceResult | Exception]:
        """Run image files through the network as `classify_all` does."""
        decoded = [self._try_decode(each) for each in images]
        results = iter(
            self._engine.run_inputs([each for each in decoded if isinstance(each, Input)])
        )
        return [each if isinstance(each, Exception) else next(results) for each in decoded]

    def _try_decode(self, data: bytes) -> Input | Exception:
        try:
            with suppress(MemoryExceededError):
                return self.decoder.decode(data, self._large.ordinary_memory)
            return self.decoder.decode(data)
        except Exception as error:
            return error

    async def explain(
        self,
        data: bytes,
        result: ClassificationResult,
        time_limit: float | None = None,
        client: str = "",
    ) -> Explanation | None:
        """Explain the most probable label of an image file's `result`; see `Explainer.explain`."""
        return await self._explainer.explain(data, result.top(1)[0], time_limit, client)

    def create_explainer(
        self,
        activation_map: Callable[[Floats, int], Floats | None],
        to_probabilities: Callable[[InferenceResult], Floats],
    ) -> Explainer:
        """Return an explainer of labels whose probabilities are made from this model's results."""

        async def predict(client: str, rows: Floats) -> Floats:
            cost = len(rows) * self._engine.seconds_per_image
            return to_probabilities(
                await self._batcher.submit(Input(rows), client=client, cost=cost)
            )

        return Explainer(
            self.decoder,
            activation_map,
            predict,
            lambda: self.plan.max_batch,
            self._in_thread,
            self._run_decoding,
            self._turn_to_explain,
            independent=self.manifest.task == MULTI_LABEL,
        )

    async def model_input_png(
        self, data: bytes, time_limit: float | None = None, client: str = ""
    ) -> bytes:
        """Return the model input made from an image file, as a PNG.

        Raise the errors of `classify`.
        """

        def render(reserved: int) -> bytes:
            rows = self.decoder.decode(data, reserved).rows
            return model_input.to_png(rows[0], self.manifest.preprocess)

        try:
            async with asyncio.timeout(time_limit):
                return await self._run_decoding(render, data, client)
        except TimeoutError as error:
            raise deadline_error(time_limit) from error

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
        self._loop_batcher.close()
        self._decoders.close(wait=False)
        if self._owns_large:
            self._large.close()
        self._batcher.close()

    def _require(self, time_limit: float | None, client: str, cost: DecodingCost | None) -> None:
        """Raise WorkRejectedError unless there is capacity for an image of this cost."""
        if cost is not None and self._large.is_large(cost):
            self._large.require_capacity(cost, time_limit, client)
            cost = None
        seconds = self._engine.seconds_per_image + (cost.seconds if cost else 0)
        self._admission.require(time_limit, client, seconds)

    async def _classify_quick(
        self, data: bytes | SharedImage, cost: DecodingCost, client: str, deadline: float
    ) -> tuple[InferenceResult, float] | None:
        """Classify an image on the event loop; return the result, and the seconds in the queue.

        Return None if the image needs more memory than its header says.
        """
        seconds = self._engine.seconds_per_image + cost.seconds
        queued_at = time.perf_counter()
        with self._admission.track(client, seconds), self._large.ordinary_image():
            try:
                result = await self._loop_batcher.submit(data, deadline, client, seconds)
            except MemoryExceededError:
                return None
        elapsed = time.perf_counter() - queued_at
        return result, elapsed - result.decode - result.inference

    async def _classify_in_threads(
        self,
        data: bytes | SharedImage,
        cost: DecodingCost,
        client: str,
        deadline: float,
        *,
        is_large: bool,
    ) -> tuple[InferenceResult, float]:
        """Classify an image in threads; return the result, and the seconds in the queue."""
        item: Item = data
        seconds = self._engine.seconds_per_image
        if is_large:
            item = await self._decode_large(data, cost, client, deadline)
        else:
            seconds += cost.seconds
        with self._admission.track(client, seconds), self._large.ordinary_image(not is_large):
            try:
                if not is_large:
                    item = await self._decode(data)
                queued_at = time.perf_counter()
                result = await self._batcher.submit(item, deadline, client, seconds)
            except MemoryExceededError as error:  # the header did not state its size
                cost = DecodingCost(_UNKNOWN_SECONDS, error.needed)
                item = await self._decode_large(data, cost, client, deadline)
                queued_at = time.perf_counter()
                result = await self._batcher.submit(item, deadline, client, seconds)
        elapsed = time.perf_counter() - queued_at
        decode = 0 if isinstance(item, Input) else result.decode
        return result, elapsed - result.inference - decode

    def _require_or_count(
        self,
        time_limit: float | None,
        client: str,
        cost: DecodingCost | None,
        tracking: Tracking,
    ) -> None:
        try:
            self._require(time_limit, client, cost)
        except WorkRejectedError as error:
            tracking.reject(error)
            raise

    async def _decode(self, data: bytes | SharedImage) -> Item:
        """Decode a tiny image here, and others in the decoder threads if the plan has any."""
        if (tiny := self.decoder.decode_tiny(data)) is not None:
            return tiny
        if not self.plan.decoders:
            return data
        return await self._in_thread(
            partial(self.decoder.decode, data, self._large.ordinary_memory)
        )

    async def _decode_large(
        self, data: bytes | SharedImage, cost: DecodingCost, client: str, deadline: float
    ) -> Input:
        return await self._large.decode(partial(self.decoder.decode, data), cost, client, deadline)

    async def _run_decoding(self, work: Callable[[int], T], data: bytes, client: str) -> T:
        """Return `work(reserved)`, which decodes an image file with `reserved` bytes."""
        cost = self.decoder.estimate_cost(data)
        if not self._large.is_large(cost):
            try:
                return await self._in_thread(partial(work, self._large.ordinary_memory))
            except MemoryExceededError as error:
                cost = DecodingCost(_UNKNOWN_SECONDS, error.needed)
        return await self._large.decode(work, cost, client)

    async def _in_thread(self, work: Callable[[], T]) -> T:
        result: T = await self._decoders.submit(work)
        return result

    def _apply(self, plan: Plan) -> None:
        self._batcher.resize(plan.runners, plan.max_batch)


def make_timings(result: InferenceResult, queue: float) -> Timings:
    """Return the timings of a result that waited `queue` seconds."""
    return Timings(result.decode * 1e3, queue * 1e3, result.inference * 1e3)


def unit_features(result: InferenceResult) -> Floats:
    """Return the features (n, D) of a result with features, each with an L2 norm of 1."""
    assert result.features is not None  # noqa: S101 (see `Classifier.require_features`)
    return apply.normalize(result.features)


def _call(batch: Batch[Callable[[], T]]) -> list[T]:
    (work,) = batch.items
    return [work()]


def _count_rows(item: Item) -> int:
    return len(item.rows) if isinstance(item, Input) else 1
