"""The facade: the bytes of a picture in, a prediction out.

artifact = artifact.read(Path("models/mnist-cnn"))
classifier = Classifier(artifact, runtimes.load(artifact))
prediction = await classifier.classify(Path("seven.png").read_bytes())
prediction.top(3)
"""

import asyncio
import os
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from backend.inference import calibration, images
from backend.inference.artifact import Artifact, Manifest
from backend.inference.batcher import Batcher
from backend.inference.budget import Budget
from backend.inference.errors import ArtifactError, InferenceError, QueueFullError
from backend.inference.observer import SILENT, Observer
from backend.inference.preprocess import preprocess
from backend.inference.runtimes import Runtime
from backend.inference.types import Floats, Prediction, Timings


class Classifier:
    """Decode -> preprocess -> batch -> calibrate -> label, for one model.

    Decoding and preprocessing run on a private pool of threads (Pillow releases the interpreter's
    lock while it works), the forward pass on the batcher's thread; the event loop only waits.
    """

    def __init__(
        self,
        artifact: Artifact,
        runtime: Runtime,
        *,
        max_pixels: int = images.DEFAULT_MAX_PIXELS,
        max_batch: int = 32,
        queue_size: int = 512,
        observer: Observer = SILENT,
    ) -> None:
        """Warm the runtime with one blank input.

        Raises ArtifactError where the network does not give one finite number per label.
        """
        self.manifest: Manifest = artifact.manifest
        self.runtime_name = runtime.name
        self._max_pixels = max_pixels
        # A decoded pixel takes some 8 bytes until it is reduced: only so many at a time.
        self._pixels = Budget(max_pixels)
        self._max_batch = max_batch
        self._queue_size = queue_size
        self._waiting = 0  # pictures that are decoded or queued; the event loop alone counts them
        self._runtime = runtime
        self._observer = observer
        self._warm_up(artifact)
        self._batcher = Batcher(self._forward, max_batch=max_batch, queue_size=queue_size)
        self._decoders = ThreadPoolExecutor(os.cpu_count(), thread_name_prefix="prism-decode")

    async def classify(self, data: bytes) -> Prediction:
        """Classify one picture, given as the bytes of its file.

        Raises an ImageError for a picture that cannot be used, QueueFullError and ClosedError
        where no work is taken, InferenceError where the model fails.
        """
        if self._waiting >= self._queue_size:
            self._observer.shed("queue_full")
            raise QueueFullError("Too many pictures are waiting. Try again in a moment.")
        self._waiting += 1
        self._observer.admitted()
        self._observer.depth(self._waiting)
        try:
            loop = asyncio.get_running_loop()
            started = time.perf_counter()
            rows = await loop.run_in_executor(self._decoders, self._prepare, data)
            decoded = time.perf_counter() - started
            prediction = (await self._predict(rows, decoded))[0]
        except asyncio.CancelledError:
            self._observer.abandoned()
            raise
        except Exception as error:
            self._observer.failed(error)
            raise
        else:
            spent = prediction.timings
            self._observer.answered(spent.decode / 1e3, spent.queue / 1e3, spent.inference / 1e3)
            return prediction
        finally:
            self._waiting -= 1
            self._observer.depth(self._waiting)

    async def classify_inputs(self, rows: Floats) -> list[Prediction]:
        """Classify inputs of shape (N, *input), already as the network wants them."""
        size = self._max_batch
        parts = [rows[start : start + size] for start in range(0, len(rows), size)]
        return [answer for part in parts for answer in await self._predict(part, 0.0)]

    def close(self) -> None:
        """Finish what is queued and stop the threads; who still decodes is not waited for."""
        self._decoders.shutdown(wait=False, cancel_futures=True)
        self._batcher.close()

    def _prepare(self, data: bytes) -> Floats:
        image = images.open_image(data, max_pixels=self._max_pixels)
        with self._pixels.take(image.width * image.height):
            rgb = images.load_rgb(image)
            return preprocess(rgb, self.manifest.preprocess)[np.newaxis]

    def _forward(self, rows: Floats) -> Floats:
        return calibration.probabilities(self._runtime(rows), self.manifest.output)

    async def _predict(self, rows: Floats, decoded: float) -> list[Prediction]:
        done = await asyncio.wrap_future(self._batcher.submit(rows))
        timings = Timings(decoded * 1e3, done.queue * 1e3, done.inference * 1e3)
        ranking = np.argsort(-done.outputs, axis=1, kind="stable")
        return [
            Prediction(self.manifest.labels, probabilities, order, timings)
            for probabilities, order in zip(done.outputs, ranking, strict=True)
        ]

    def _warm_up(self, artifact: Artifact) -> None:
        blank = np.zeros((1, *self.manifest.preprocess.input_shape), dtype=np.float32)
        try:
            shape = self._forward(blank).shape
        except InferenceError as error:
            raise ArtifactError(f"{artifact.folder}: the network fails on a blank input") from error
        if shape != (1, len(self.manifest.labels)):
            raise ArtifactError(
                f"{artifact.folder}: the network gives {shape[-1]} outputs, but the manifest has "
                f"{len(self.manifest.labels)} labels"
            )
