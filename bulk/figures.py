"""The report of `python -m evaluation` from the rows of a labeled job."""

import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from bulk import job as jobs
from bulk.job import Job
from bulk.storage import Storage
from evaluation.ground_truth import match_labels
from evaluation.sources.base import Item, Source
from evaluation.types import Failure, ModelOutput, Sample

REPORT: Final = "_report"
_COLUMNS: Final = (
    *("path", "container", "label", "prediction_set", "labels", "in_distribution", "ood_score"),
    *("ms", "error", "probabilities"),
)


def match_classes(
    names: Sequence[str], labels: Sequence[str], label_ids: Sequence[str] | None, task: str
) -> dict[str, str]:
    """Return the model's label by class of the source; raise LabelError if one has none."""
    source = Source("", [Item(name, name) for name in names], lambda _: b"")
    matched = match_labels(source, labels, label_ids, several=task == "multi-label")
    return {
        name: item.label
        for name, item in zip(names, matched.items, strict=True)
        if item.label is not None
    }


class StoredOutputs:
    """A Predictor of `evaluation` that returns the stored rows of a job instead of classifying."""

    def __init__(self, job: Job, labels: tuple[str, ...], task: str) -> None:
        self.name: Final = job.settings.model
        self.version: Final = job.settings.version
        self.labels: Final = labels
        self.label_ids: Final[Sequence[str] | None] = None
        self.task: Final = task
        self._job = job
        self._row: dict[str, Any] = {}

    def samples(self) -> Iterator[Sample]:
        """Yield the labeled images, without their contents."""
        for columns in jobs.parts(self._job, list(_COLUMNS)):
            for values in zip(*(columns[name] for name in _COLUMNS), strict=True):
                row = dict(zip(_COLUMNS, values, strict=True))
                if row["label"] is None:
                    continue
                self._row = row
                container = f"{row['container']}/" if row["container"] else ""
                yield Sample(container + row["path"], b"", row["label"])

    def __call__(self, contents: Iterator[bytes]) -> Iterator[ModelOutput | Failure]:
        """Yield the result of the sample that was read last."""
        for _ in contents:
            yield self._to_output(self._row)

    def _to_output(self, row: dict[str, Any]) -> ModelOutput | Failure:
        if row["error"] is not None:
            return Failure(row["error"])
        labels, above = row["prediction_set"], row["labels"]
        return ModelOutput(
            probabilities=np.array(row["probabilities"], np.float32),
            prediction_set=None if labels is None else tuple(labels),
            coverage=None if labels is None else self._job.settings.coverage,
            in_distribution=row["in_distribution"],
            ood_score=row["ood_score"],
            seconds=row["ms"] / 1e3,
            labels=None if above is None else tuple(above),
        )


def write_report(job: Job, labels: tuple[str, ...], task: str) -> str:
    """Write the report of the rows so far next to them; return a summary."""
    # Imports scikit-learn and matplotlib, which other jobs do not need.
    from evaluation import report
    from evaluation.evaluate import evaluate
    from evaluation.summary import summarize_evaluation

    stored = StoredOutputs(job, labels, task)
    evaluation = evaluate(stored.samples(), stored, source=job.settings.source)
    storage = Storage(job.out)
    with tempfile.TemporaryDirectory(prefix="prism-report-") as temporary:
        folder = Path(storage.root if storage.is_local else temporary) / REPORT
        files = report.write(evaluation, folder)
        if not storage.is_local:
            for file in files:
                storage.upload(file, f"{REPORT}/{file.name}")
    paths = [f"  {job.out.rstrip('/')}/{REPORT}/{file.name}" for file in files]
    return "\n".join([summarize_evaluation(evaluation), *paths])
