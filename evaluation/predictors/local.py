"""A local model folder, run with the inference code of the backend."""

import asyncio
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from functools import partial
from pathlib import Path
from typing import Final

from backend.inference import runtimes
from backend.inference.classifier import Classifier
from backend.inference.errors import ImageError, InferenceError, ModelError
from backend.inference.head_classifier import AnyClassifier, HeadClassifier
from backend.inference.models import artifact
from backend.inference.models.artifact import MANIFEST, Artifact
from backend.inference.types import ClassificationResult
from evaluation.errors import PredictorError
from evaluation.types import Failure, ModelOutput

MAX_PENDING: Final = 64  # images; enough for two full batches
MAX_PENDING_BYTES: Final = 64_000_000


class LocalPredictor:
    """Runs the model in `folder`; prediction sets have the given coverage.

    `models_dir` contains the backbone of a taught model (default: the folder that contains
    `folder`). Close it, or use it as a context manager. Raise PredictorError if it cannot be
    loaded.
    """

    def __init__(
        self, folder: Path, *, coverage: float = 0.95, models_dir: Path | None = None
    ) -> None:
        try:
            model = artifact.read(folder)
            self._network, self._classifier = load_classifier(model, models_dir or folder.parent)
        except ModelError as error:
            raise PredictorError(str(error)) from error
        self._network.use_default_plan()
        self.name: Final = model.manifest.name
        self.version: Final = model.manifest.version
        self.labels: Final = model.manifest.labels
        self.task: Final[str] = model.manifest.task
        self.label_ids: Final[Sequence[str] | None] = model.manifest.label_ids
        self._coverage = coverage
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="local-predictor")
        self._thread.start()

    def __enter__(self) -> "LocalPredictor":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Stop all threads."""
        self._network.close()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def __call__(self, contents: Iterator[bytes]) -> Iterator[ModelOutput | Failure]:
        """Yield the results in order; concurrent images are batched."""
        pending: deque[tuple[int, Future[ModelOutput | Failure]]] = deque()
        pending_bytes = 0
        for content in contents:
            future = asyncio.run_coroutine_threadsafe(self._classify(content), self._loop)
            pending.append((len(content), future))
            pending_bytes += len(content)
            while len(pending) >= MAX_PENDING or pending_bytes > MAX_PENDING_BYTES:
                size, first = pending.popleft()
                pending_bytes -= size
                yield first.result()
        while pending:
            yield pending.popleft()[1].result()

    async def _classify(self, content: bytes) -> ModelOutput | Failure:
        try:
            result = await self._classifier.classify(content)
        except (ImageError, InferenceError) as error:
            return Failure(str(error))
        return _to_output(result, self._coverage)


def load_classifier(
    model: Artifact, models_dir: Path, *, threads: int | None = None, memory: int | None = None
) -> tuple[Classifier, AnyClassifier]:
    """Return the network, and the classifier, which is another one for a taught model.

    The network uses `threads` threads (default: the available processors), and its forward passes
    `memory` bytes (default: no limit). Raise ModelError.
    """
    backbone = model.manifest.backbone
    if backbone is None:
        network = Classifier(model, partial(runtimes.load, model), threads=threads, memory=memory)
        return network, network
    base = artifact.read(find_model(backbone.name, models_dir))
    network = Classifier(base, partial(runtimes.load, base), threads=threads, memory=memory)
    try:
        return network, HeadClassifier(model, network)
    except ModelError:
        network.close()
        raise


def find_model(name: str, models_dir: Path) -> Path:
    """Return the model folder `name` in `models_dir`, or the one at the path `name`.

    Raise PredictorError if neither exists.
    """
    try:
        for folder in (models_dir / name, Path(name)):
            if (folder / MANIFEST).is_file():
                return folder
        known = ", ".join(sorted(path.parent.name for path in models_dir.glob(f"*/{MANIFEST}")))
    except OSError as error:
        raise PredictorError(f"{error.filename} cannot be read: {error.strerror}") from error
    raise PredictorError(
        f"{name!r} is not a model folder; {models_dir} contains {known or 'no model folders'}"
    )


def _to_output(result: ClassificationResult, coverage: float) -> ModelOutput:
    labels, above = result.prediction_set(coverage), result.labels_above_threshold()
    return ModelOutput(
        probabilities=result.probabilities,
        prediction_set=labels,
        coverage=None if labels is None else coverage,
        in_distribution=result.in_distribution,
        ood_score=result.ood_score,
        labels=None if above is None else tuple(score.label for score in above),
        seconds=(result.timings.decode + result.timings.inference) / 1e3,
    )
