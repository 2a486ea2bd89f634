"""A model folder, run on this machine as the backend would run it."""

import asyncio
import threading
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future
from functools import partial
from pathlib import Path
from typing import Final

from backend.inference import runtimes
from backend.inference.classifier import Classifier
from backend.inference.errors import ImageError, InferenceError, ModelError
from backend.inference.models import artifact
from backend.inference.models.artifact import MANIFEST
from backend.inference.types import ClassificationResult
from evaluation.errors import PredictorError
from evaluation.types import Answer, Failure

IN_FLIGHT: Final = 64  # pictures; enough for two full batches
IN_FLIGHT_BYTES: Final = 64_000_000


class LocalPredictor:
    """Runs the model in `folder`; prediction sets have the `coverage`.

    Close it, or use it in a `with`. Raises PredictorError where it cannot be loaded.
    """

    def __init__(self, folder: Path, *, coverage: float = 0.95) -> None:
        try:
            found = artifact.read(folder)
            self._classifier = Classifier(found, partial(runtimes.load, found))
        except ModelError as error:
            raise PredictorError(str(error)) from error
        self._classifier.spread()
        self.name: Final = found.manifest.name
        self.version: Final = found.manifest.version
        self.labels: Final = found.manifest.labels
        self._coverage = coverage
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="local-predictor")
        self._thread.start()

    def __enter__(self) -> "LocalPredictor":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Stop the threads of the model."""
        self._classifier.close()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def __call__(self, contents: Iterator[bytes]) -> Iterator[Answer | Failure]:
        """Answer the pictures in order, several in flight so that they are batched."""
        flying: deque[tuple[int, Future[Answer | Failure]]] = deque()
        weight = 0
        for content in contents:
            future = asyncio.run_coroutine_threadsafe(self._answer(content), self._loop)
            flying.append((len(content), future))
            weight += len(content)
            while len(flying) >= IN_FLIGHT or weight > IN_FLIGHT_BYTES:
                size, first = flying.popleft()
                weight -= size
                yield first.result()
        while flying:
            yield flying.popleft()[1].result()

    async def _answer(self, content: bytes) -> Answer | Failure:
        try:
            prediction = await self._classifier.classify(content)
        except (ImageError, InferenceError) as error:
            return Failure(str(error))
        return _answer(prediction, self._coverage)


def find_model(name: str, models_dir: Path) -> Path:
    """Return the model folder `name` in `models_dir`, or the one at that path.

    Raises PredictorError where there is none.
    """
    try:
        for folder in (models_dir / name, Path(name)):
            if (folder / MANIFEST).is_file():
                return folder
        known = ", ".join(sorted(path.parent.name for path in models_dir.glob(f"*/{MANIFEST}")))
    except OSError as error:
        raise PredictorError(f"{error.filename} cannot be read: {error.strerror}") from error
    there = f"holds {known}" if known else "holds no model folder"
    raise PredictorError(f"{name!r} is no model folder; {models_dir} {there}")


def _answer(prediction: ClassificationResult, coverage: float) -> Answer:
    found = prediction.prediction_set(coverage)
    return Answer(
        probabilities=prediction.probabilities,
        prediction_set=found,
        coverage=None if found is None else coverage,
        in_distribution=prediction.in_distribution,
        ood_score=prediction.ood_score,
        seconds=(prediction.timings.decode + prediction.timings.inference) / 1e3,
    )
