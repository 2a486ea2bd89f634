"""Evaluate a served model on a dataset in a background job. Imports no Streamlit."""

import time
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Final

from client import Client, ModelInfo
from evaluation.errors import EvaluationError
from evaluation.evaluate import MULTI_LABEL, evaluate
from evaluation.ground_truth import match_labels
from evaluation.predictors.served import ServedPredictor
from evaluation.results import Evaluation
from evaluation.sources.base import Source
from evaluation.types import Record
from frontend.datasets.dataset import Dataset
from frontend.state.jobs import Job

MAX_ATTEMPTS: Final = 14  # about 90 s, enough for a restart of the backend
MAX_MATRIX_LABELS: Final = 20  # more labels make a matrix illegible
INTERRUPTED: Final = "the server of this page stopped"

Pair = tuple[str, str]


class Confusions:
    """Records by label and prediction; `labels` are those that occur, sorted as in `order`."""

    def __init__(self, records: Sequence[Record], order: Sequence[str] = ()) -> None:
        cells: defaultdict[Pair, list[Record]] = defaultdict(list)
        for record in records:
            if record.label is not None and record.prediction is not None:
                cells[record.label, record.prediction].append(record)
        self._cells: Final = dict(cells)
        self.support: Final = Counter[str]()
        self.wrong: Final = Counter[str]()
        for (label, prediction), cell in self._cells.items():
            self.support[label] += len(cell)
            if label != prediction:
                self.wrong[label] += len(cell)
        position = {label: index for index, label in enumerate(order)}
        occurring = sorted({label for pair in self._cells for label in pair})
        last = len(position)
        self.labels: Final = tuple(sorted(occurring, key=lambda one: position.get(one, last)))

    def records(self, label: str | None, prediction: str | None) -> Sequence[Record]:
        """Return the records of one cell, or of a row or column if only one value is given.

        The wrong predictions of a row or column come first.
        """
        if label is not None and prediction is not None:
            return self._cells.get((label, prediction), ())
        matches = [
            record
            for pair, records in self._cells.items()
            if (label, prediction) in ((pair[0], None), (None, pair[1]))
            for record in records
        ]
        return sorted(matches, key=lambda record: record.is_correct)

    def count(self, label: str, prediction: str) -> int:
        """Return the number of records in a cell."""
        return len(self._cells.get((label, prediction), ()))

    @property
    def displayed_labels(self) -> tuple[str, ...]:
        """The labels of the matrix: at most MAX_MATRIX_LABELS, the most confused, in order."""
        if len(self.labels) <= MAX_MATRIX_LABELS:
            return self.labels
        confused = [label for pair, _ in self.most_frequent(MAX_MATRIX_LABELS) for label in pair]
        chosen = set(list(dict.fromkeys([*confused, *self.labels]))[:MAX_MATRIX_LABELS])
        return tuple(label for label in self.labels if label in chosen)

    def most_frequent(self, count: int) -> list[tuple[Pair, int]]:
        """Return the `count` most frequent confusions with their numbers."""
        wrong = {pair: len(cell) for pair, cell in self._cells.items() if pair[0] != pair[1]}
        return sorted(wrong.items(), key=lambda item: -item[1])[:count]


@dataclass(frozen=True, slots=True)
class EvaluationTarget:
    """The backend, and the coverage to request."""

    client: Client
    coverage: float | None


@dataclass
class EvaluationRun:
    """The evaluation of `model` on the dataset `data`; `error` says why there is none."""

    model: ModelInfo
    data: Dataset
    evaluation: Evaluation | None = None
    error: str | None = None

    def close(self) -> None:
        """Release the dataset."""
        self.data.close()

    @cached_property
    def confusions(self) -> Confusions:
        """The records by label and prediction."""
        records = self.evaluation.records if self.evaluation else ()
        return Confusions(records, self.model.labels)


def match_dataset_labels(model: ModelInfo, data: Dataset) -> Source:
    """Return the images with labels of the model; raise LabelError for a class that it lacks."""
    several = model.task == MULTI_LABEL
    return match_labels(data.source, model.labels, model.label_ids, several=several)


def evaluate_model(
    target: EvaluationTarget, model: ModelInfo, data: Dataset, job: Job
) -> EvaluationRun:
    """Evaluate one model; after a stop, the result covers the images done so far."""
    run = EvaluationRun(model, data)
    try:
        reporter = ProgressReporter(job, len(data.source))
        run.evaluation = evaluate_dataset(target, model, data, job, reporter)
        _ = run.confusions  # computed in the job, not while the user waits for the page
    except EvaluationError as error:
        run.error = as_sentence(error)
    except BaseException:
        data.close()
        raise
    return run


def evaluate_dataset(
    target: EvaluationTarget,
    model: ModelInfo,
    data: Dataset,
    job: Job,
    reporter: "ProgressReporter",
) -> Evaluation:
    """Classify every image and retry while the backend is away; raise EvaluationError."""
    with ServedPredictor(
        target.client,
        model.name,
        coverage=target.coverage or 0.95,
        stop=job.stop,
        max_attempts=MAX_ATTEMPTS,
        on_wait=reporter.report_wait,
    ) as predictor:
        source = match_dataset_labels(model, data)
        evaluation = evaluate(
            source.samples(),
            predictor,
            source=data.name,
            total=len(source),
            notes=source.notes,
            progress=reporter.advance,
            is_cancelled=job.is_cancelled,
        )
    if job.is_interrupted and evaluation.stopped:
        return replace(evaluation, stopped=INTERRUPTED)
    return evaluation


class ProgressReporter:
    """Reports the progress, the rate and the remaining time to a job."""

    def __init__(self, job: Job, total: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._job = job
        self._clock = clock
        self._started_at = clock()
        self._offset = 0
        job.advance(0, total)

    def advance(self, done: int) -> None:
        """Report that `done` images of the current part are done."""
        job = self._job
        job.advance(self._offset + done)
        elapsed = self._clock() - self._started_at
        if elapsed > 0 and job.done:
            rate = job.done / elapsed
            remaining = (job.total - job.done) / rate
            job.note = f", {rate:,.0f} per second, {duration(remaining)} left"

    def start_part(self) -> None:
        """Start the next part, whose images are counted from 0 again."""
        self._offset = self._job.done

    def report_wait(self, _: str) -> None:
        """Report that the job waits for the backend."""
        self._job.note = ". Waiting for the backend. The evaluation continues automatically"


def progress_text(job: Job) -> str:
    """Return the progress of a job."""
    return f"{job.done:,} of {job.total:,} images{job.note}"


def duration(seconds: float) -> str:
    """Format a duration approximately."""
    if seconds < 90:
        return f"about {max(1, round(seconds))} s"
    return f"about {round(seconds / 60)} min"


def precise_percent(share: float) -> str:
    """Format a share of many images with two decimals, which may distinguish two models."""
    return f"{100 * share:.2f}%"


def as_sentence(error: Exception | str) -> str:
    """Return an error message of the evaluation package as a sentence."""
    text = str(error).replace(" ...", ", …").rstrip(".")
    if text.startswith("http"):
        return f"The backend at {text}."
    return f"{text[:1].upper()}{text[1:]}."
