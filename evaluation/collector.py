"""Collection of the records of a predictor on a stream of images."""

import heapq
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from evaluation.errors import LabelError, PredictorError
from evaluation.ground_truth import unknown_labels_message
from evaluation.label_sets import join_labels, split_labels
from evaluation.results import Mistake
from evaluation.thumbnails import create_thumbnail_uri
from evaluation.types import AnySample, Failure, Floats, ModelOutput, Predictor, Record, Sample

MAX_MISTAKES: Final = 24

Samples = Iterable[AnySample]
Progress = Callable[[int], None]
IsCancelled = Callable[[], bool]


class RecordCollector:
    """Collects the records and the worst mistakes of a predictor.

    Probabilities of labeled images are stored in a temporary file. Classes that share a label are
    merged: `labels` has each label once, and its probability is the largest of its classes. With
    `several`, the images have sets of labels. Use it as a context manager.
    """

    def __init__(self, labels: Sequence[str], *, several: bool = False) -> None:
        self.records: list[Record] = []
        self.seconds = 0.0
        self.stopped: str | None = None
        self.coverage: float | None = None  # of the prediction sets
        self.labels: Final = tuple(dict.fromkeys(labels))
        self._index_of: Final = {label: index for index, label in enumerate(self.labels)}
        self._columns: Final = np.array([self._index_of[label] for label in labels], np.intp)
        self._several: Final = several
        self._truth: list[int] = []
        self._true_sets: list[list[int]] = []
        self._rows: Final = tempfile.TemporaryFile(prefix="evaluation-")  # noqa: SIM115
        self._worst: list[tuple[float, int, Mistake]] = []

    def __enter__(self) -> "RecordCollector":
        return self

    def __exit__(self, *_: object) -> None:
        self._rows.close()

    def collect(
        self, samples: Samples, predictor: Predictor, progress: Progress, is_cancelled: IsCancelled
    ) -> None:
        """Classify the samples until they end, the predictor fails, or `is_cancelled` is true.

        Raise LabelError for a label that the model does not have, and PredictorError if the
        predictor fails before the first result.
        """
        started = time.perf_counter()
        pending: deque[AnySample] = deque()
        outputs = predictor(self._contents(samples, pending, is_cancelled))
        try:
            for output in outputs:
                if (sample := self._next_readable(pending)) is None:
                    break
                self._add(sample, output)
                progress(len(self.records))
        except PredictorError as error:
            if not self.records and not is_cancelled():
                raise
            self.stopped = str(error)
        else:
            done = len(self.records)
            if self._next_readable(pending):
                self.stopped = "the model returned fewer results than images"
            if len(self.records) > done:
                progress(len(self.records))
        self.seconds = time.perf_counter() - started

    @property
    def mistakes(self) -> tuple[Mistake, ...]:
        """The mistakes with the highest confidence, sorted by descending confidence."""
        ranked = sorted(self._worst, key=lambda entry: entry[:2], reverse=True)
        return tuple(mistake for _, _, mistake in ranked)

    def labeled_probabilities(self) -> tuple[Floats, NDArray[np.intp]]:
        """Return probabilities (N, C) and true indices (N,) of the labeled images."""
        truth = np.array(self._truth, dtype=np.intp)
        shape = len(truth), len(self.labels)
        if not len(truth):
            return np.zeros(shape, np.float32), truth
        self._rows.flush()
        return np.asarray(np.memmap(self._rows, np.float32, "r", shape=shape)), truth

    def labeled_sets(self) -> tuple[Floats, NDArray[np.bool_], NDArray[np.bool_]]:
        """Return probabilities, decisions and truth of the labeled images, each of shape (N, C)."""
        truth = np.zeros((len(self._true_sets), len(self.labels)), np.bool_)
        for row, indices in zip(truth, self._true_sets, strict=True):
            row[indices] = True
        if not len(truth):
            return np.zeros(truth.shape, np.float32), truth, truth
        self._rows.flush()
        shape = len(truth), 2, len(self.labels)
        rows = np.asarray(np.memmap(self._rows, np.float32, "r", shape=shape))
        return rows[:, 0], rows[:, 1] > 0, truth

    def _contents(
        self, samples: Samples, pending: deque[AnySample], is_cancelled: IsCancelled
    ) -> Iterator[bytes]:
        for sample in samples:
            if is_cancelled():
                self.stopped = "stopped by the user"
                return
            if unknown := [one for one in self._names(sample.label) if one not in self._index_of]:
                raise LabelError(unknown_labels_message(unknown, self.labels))
            pending.append(sample)
            if isinstance(sample, Sample):
                yield sample.content

    def _next_readable(self, pending: deque[AnySample]) -> Sample | None:
        """Return the next readable sample, and add records of the unreadable ones before it."""
        while pending:
            sample = pending.popleft()
            if isinstance(sample, Sample):
                return sample
            self.records.append(Record(sample.name, sample.label, error=sample.reason))
        return None

    def _names(self, label: str | None) -> tuple[str, ...]:
        if label is None:
            return ()
        return split_labels(label) if self._several else (label,)

    def _add(self, sample: Sample, output: ModelOutput | Failure) -> None:
        if isinstance(output, Failure):
            self.records.append(Record(sample.name, sample.label, error=output.reason))
            return
        row = np.zeros(len(self.labels), np.float32)
        np.maximum.at(row, self._columns, output.probabilities)
        if output.labels is not None:
            self._add_set(sample, output, row, output.labels)
            return
        record = self._create_record(sample, output, row)
        self.records.append(record)
        if sample.label is None:
            return
        self._truth.append(self._index_of[sample.label])
        self._rows.write(row.tobytes())
        if not record.is_correct:
            self._add_mistake(sample, record, float(row.max()))

    def _add_set(
        self, sample: Sample, output: ModelOutput, row: Floats, decided: tuple[str, ...]
    ) -> None:
        names = None if sample.label is None else split_labels(sample.label)
        self.records.append(
            Record(
                name=sample.name,
                label=None if names is None else join_labels(names, self.labels),
                prediction=join_labels(decided, self.labels),
                confidence=float(row.max()),
                ms=output.seconds * 1e3,
            )
        )
        if names is None:
            return
        decisions = np.zeros(len(self.labels), np.float32)
        decisions[[self._index_of[label] for label in decided]] = 1
        self._true_sets.append([self._index_of[name] for name in names])
        self._rows.write(row.tobytes())
        self._rows.write(decisions.tobytes())

    def _create_record(self, sample: Sample, output: ModelOutput, row: Floats) -> Record:
        top = int(row.argmax())
        index = None if sample.label is None else self._index_of[sample.label]
        labels = output.prediction_set
        self.coverage = output.coverage or self.coverage
        return Record(
            name=sample.name,
            label=sample.label,
            prediction=self.labels[top],
            confidence=float(row[top]),
            label_probability=None if index is None else float(row[index]),
            in_prediction_set=None if labels is None or index is None else sample.label in labels,
            set_size=None if labels is None else len(labels),
            in_distribution=output.in_distribution,
            ood_score=output.ood_score,
            ms=output.seconds * 1e3,
        )

    def _add_mistake(self, sample: Sample, record: Record, confidence: float) -> None:
        if len(self._worst) == MAX_MISTAKES and confidence <= self._worst[0][0]:
            return
        mistake = Mistake(record, create_thumbnail_uri(sample.content))
        entry = (confidence, -len(self.records), mistake)  # ties keep the earlier image
        if len(self._worst) == MAX_MISTAKES:
            heapq.heapreplace(self._worst, entry)
        else:
            heapq.heappush(self._worst, entry)
