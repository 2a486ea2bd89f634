"""Classifies one unit of a job into its part file: the operator of local processes and of Ray."""

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from backend.inference.classifier import Classifier
from backend.inference.errors import ModelError
from backend.inference.head_classifier import AnyClassifier
from backend.inference.models import artifact
from bulk.contents import Content, Contents
from bulk.job import Job
from bulk.listing import Image
from bulk.rows import RowFormat, make_row, to_parquet
from bulk.storage import Storage
from evaluation.errors import PredictorError
from evaluation.predictors.local import load_classifier

# Bytes of the forward passes of a thread: batches of 8 of EfficientNet-Lite2, 32 of a small one.
_FORWARD_MEMORY: Final = 200_000_000

# Returns the network and the classifier of a model, with a number of threads.
Load = Callable[[int], tuple[Classifier, AnyClassifier]]
Chunk = list[tuple[Image, Content]]


@dataclass(frozen=True, slots=True)
class ModelLoader:
    """Loads the model in `folder`; a taught model's backbone is in `models_dir`. Can be pickled."""

    folder: Path
    models_dir: Path

    def __call__(self, threads: int) -> tuple[Classifier, AnyClassifier]:
        """Return the network and the classifier; raise PredictorError."""
        try:
            model = artifact.read(self.folder)
            return load_classifier(
                model, self.models_dir, threads=threads, memory=_FORWARD_MEMORY * threads
            )
        except ModelError as error:
            raise PredictorError(str(error)) from error


class UnitClassifier:
    """Reads, decodes and classifies the images of a unit, and writes their rows.

    Chunks of at most 32 images are read by one thread and classified by `threads` others. At most
    `threads` + 1 chunks are in memory. Close it, or use it as a context manager.
    """

    def __init__(self, job: Job, load: Load, *, threads: int = 1) -> None:
        self._job: Final = job
        self._network, self._classifier = load(threads)
        self._network.use_default_plan()
        self._contents = Contents(Storage(job.root))
        self._out = Storage(job.out)
        self._reader = ThreadPoolExecutor(1, "bulk-read-chunks")
        self._workers = ThreadPoolExecutor(threads, "bulk-classify")
        self._threads: Final = threads
        settings, manifest = job.settings, self._classifier.manifest
        self._form = RowFormat(
            settings.coverage, settings.top_k, settings.labels, manifest.name, manifest.version
        )

    def __enter__(self) -> "UnitClassifier":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Stop all threads."""
        self._reader.shutdown(cancel_futures=True)
        self._workers.shutdown(cancel_futures=True)
        self._network.close()

    def __call__(self, unit: int, progress: Callable[[int], None] = lambda _: None) -> int:
        """Write the part file of a unit and return its number of rows.

        `progress` is called with numbers of further classified images. Raise StorageError if the
        source does not respond or the file cannot be written: the unit then has no file.
        """
        chunks = self._contents.chunks(self._job.read_unit(unit))
        rows: list[dict[str, Any]] = []
        pending: deque[Future[list[dict[str, Any]]]] = deque()

        def finish() -> None:
            finished = pending.popleft().result()
            rows.extend(finished)
            progress(len(finished))

        following = self._read_ahead(chunks)
        while chunk := following.result():
            following = self._read_ahead(chunks)
            pending.append(self._workers.submit(self._classify, chunk))
            if len(pending) == self._threads:
                finish()
        while pending:
            finish()
        self._out.write(self._job.part(unit), to_parquet(rows, self._form))
        return len(rows)

    def _read_ahead(self, chunks: Iterator[Chunk]) -> Future[Chunk | None]:
        return self._reader.submit(next, chunks, None)

    def _classify(self, chunk: Chunk) -> list[dict[str, Any]]:
        """Return the rows of a chunk."""
        contents = [content for _, content in chunk if isinstance(content, bytes)]
        results = iter(self._classifier.classify_all(contents))
        return [
            make_row(
                image, content, next(results) if isinstance(content, bytes) else content, self._form
            )
            for image, content in chunk
        ]
