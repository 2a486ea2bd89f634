"""Evaluations as bytes for the page's store: figures, records and small copies of some images.

The images themselves are not stored. Imports no Streamlit.
"""

import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from client import ModelInfo
from evaluation.results import Evaluation
from evaluation.types import Record
from frontend.datasets.dataset import Dataset
from frontend.datasets.evaluation_job import EvaluationRun
from frontend.state.kept_jobs import Kind
from frontend.state.packing import pack, unpack

MAX_THUMBNAILS: Final = 500
MAX_THUMBNAIL_BYTES: Final = 3_000_000  # of all thumbnails of a result
MAX_SECONDS: Final = 3.0  # to create them: the process may be about to end


@dataclass(frozen=True, slots=True)
class KeptDataset:
    """What is stored of a dataset: its name, and thumbnails as data URIs by image name."""

    name: str
    thumbnails: dict[str, str]

    def restore(self) -> Dataset:
        """Return a dataset without images."""
        return Dataset.restored(self.name, self.thumbnails)


@dataclass(frozen=True, slots=True)
class _KeptRun:
    model: ModelInfo
    data: KeptDataset
    evaluation: Evaluation | None
    error: str | None


def keep_dataset(data: Dataset, names: Iterable[str]) -> KeptDataset:
    """Return the name of a dataset and thumbnails of the images `names`, up to the limits."""
    thumbnails: dict[str, str] = {}
    size, end = 0, time.monotonic() + MAX_SECONDS
    for name in names:
        if name in thumbnails or (uri := data.thumbnail(name)) is None:
            continue
        size += len(uri)
        if size > MAX_THUMBNAIL_BYTES:
            break
        thumbnails[name] = uri
        if len(thumbnails) == MAX_THUMBNAILS or time.monotonic() > end:
            break
    return KeptDataset(data.name, thumbnails)


def _pack_run(run: EvaluationRun) -> bytes:
    evaluation = run.evaluation
    names = (record.name for record in by_interest(evaluation)) if evaluation else ()
    data = keep_dataset(run.data, names)
    return pack(_KeptRun(run.model, data, evaluation, run.error))


def _unpack_run(content: bytes) -> EvaluationRun:
    kept = unpack(content, _KeptRun)
    return EvaluationRun(kept.model, kept.data.restore(), kept.evaluation, kept.error)


def by_interest(evaluation: Evaluation) -> list[Record]:
    """Return the records, the worst mistakes first, then other wrong ones."""
    records = [mistake.record for mistake in evaluation.mistakes]
    return records + sorted(evaluation.records, key=lambda record: record.is_correct)


EVALUATION: Final = Kind("evaluation", _pack_run, _unpack_run)
