"""Classifies one unit of a job into its part file: the operator of local processes and of Ray."""

import asyncio
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

from backend.inference.classifier import Classifier
from backend.inference.errors import ModelError
from backend.inference.head_classifier import AnyClassifier
from backend.inference.models import artifact
from backend.inference.types import ClassificationResult
from bulk.contents import Content, Contents
from bulk.errors import ContentError
from bulk.job import Job
from bulk.listing import Image
from bulk.rows import RowFormat, make_row, to_parquet
from bulk.storage import Storage
from evaluation.errors import PredictorError
from evaluation.predictors.local import load_classifier

# Bytes of the forward passes of a thread: batches of 8 of EfficientNet-Lite2, 32 of a small one.
_FORWARD_MEMORY: Final = 200_000_000
_CHUNKS: Final = 3  # in flight: one is decoded, one runs, one is ready

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

    Reading, decoding and the forward pass overlap: each has threads of its own. At most three
    chunks of 32 images are in memory. Close it, or use it as a context manager.
    """

    def __init__(self, job: Job, load: Load, *, threads: int = 1) -> None:
        self._job: Final = job
        self._network, self._classifier = load(threads)
        self._network.use_default_plan()
        self._contents = Contents(Storage(job.root))
        self._out = Storage(job.out)
        self._reader = ThreadPoolExecutor(1, "bulk-chunks")
        settings, manifest = job.settings, self._classifier.manifest
        self._form = RowFormat(
            settings.coverage, settings.top_k, settings.labels, manifest.name, manifest.version
        )
        self._loop = asyncio.new_event_loop()

    def __enter__(self) -> "UnitClassifier":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Stop all threads."""
        self._reader.shutdown(cancel_futures=True)
        self._network.close()
        self._loop.close()

    def __call__(self, unit: int, progress: Callable[[int], None] = lambda _: None) -> int:
        """Write the part file of a unit and return its number of rows.

        `progress` is called with numbers of further classified images. Raise StorageError if the
        source does not respond or the file cannot be written: the unit then has no file.
        """
        rows = self._loop.run_until_complete(self._classify(self._job.read_unit(unit), progress))
        self._out.write(self._job.part(unit), to_parquet(rows, self._form))
        return len(rows)

    async def _classify(
        self, images: list[Image], progress: Callable[[int], None]
    ) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = []
        chunks = self._contents.chunks(images)
        pending: deque[tuple[Chunk, asyncio.Future[list[Any]]]] = deque()
        following = self._read_ahead(chunks)

        async def finish() -> None:
            chunk, results = pending.popleft()
            for (image, content), result in zip(chunk, await results, strict=True):
                rows.append(make_row(image, content, result, self._form))
            progress(len(chunk))

        while chunk := await following:
            following = self._read_ahead(chunks)
            tasks = [self._classify_one(content) for _, content in chunk]
            pending.append((chunk, asyncio.gather(*tasks, return_exceptions=True)))
            if len(pending) == _CHUNKS:
                await finish()
        while pending:
            await finish()
        return rows

    def _read_ahead(self, chunks: Iterator[Chunk]) -> asyncio.Future[Chunk | None]:
        return self._loop.run_in_executor(self._reader, partial(next, chunks, None))

    async def _classify_one(self, content: Content) -> ClassificationResult:
        if isinstance(content, ContentError):
            raise content
        return await self._classifier.classify(content)
