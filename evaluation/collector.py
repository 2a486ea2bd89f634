"""Ask a predictor about a stream of pictures and keep what becomes of each."""

import heapq
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from evaluation.errors import LabelError, PredictorError
from evaluation.results import Mistake
from evaluation.thumbnails import thumbnail
from evaluation.types import Answer, Failure, Floats, Predictor, Record, Sample, Unreadable

MISTAKES: Final = 24

Samples = Iterable[Sample | Unreadable]
Progress = Callable[[int], None]
Cancelled = Callable[[], bool]


class Run:
    """The pictures that went through a predictor so far.

    It holds the records and the worst mistakes; the probabilities of labelled pictures are in a
    temporary file. Classes of the same label are one, as probable as the likelier of them; `labels`
    has each once. Use it in a `with`.
    """

    def __init__(self, labels: Sequence[str]) -> None:
        self.records: list[Record] = []
        self.seconds = 0.0
        self.stopped: str | None = None
        self.coverage: float | None = None  # of the prediction sets
        self.labels: Final = tuple(dict.fromkeys(labels))
        self._places: Final = {label: index for index, label in enumerate(self.labels)}
        self._class_of: Final = np.array([self._places[label] for label in labels], np.intp)
        self._truth: list[int] = []
        self._rows: Final = tempfile.TemporaryFile(prefix="evaluation-")  # noqa: SIM115
        self._worst: list[tuple[float, int, Mistake]] = []

    def __enter__(self) -> "Run":
        return self

    def __exit__(self, *_: object) -> None:
        self._rows.close()

    def ask(
        self, samples: Samples, predictor: Predictor, progress: Progress, cancelled: Cancelled
    ) -> None:
        """Let the predictor answer the samples until it cannot, they end, or it is cancelled.

        Raises LabelError at a label that the model does not know, and PredictorError where there
        never was an answer.
        """
        started = time.perf_counter()
        pending: deque[Sample | Unreadable] = deque()
        answers = predictor(self._contents(samples, pending, cancelled))
        try:
            for answer in answers:
                if (sample := self._next(pending)) is None:
                    break
                self._keep(sample, answer)
                progress(len(self.records))
        except PredictorError as error:
            if not self.records and not cancelled():
                raise
            self.stopped = str(error)
        else:
            done = len(self.records)
            if self._next(pending):
                self.stopped = "the model answered fewer pictures than it was given"
            if len(self.records) > done:
                progress(len(self.records))
        self.seconds = time.perf_counter() - started

    @property
    def mistakes(self) -> tuple[Mistake, ...]:
        """The mistakes in which the wrong answer had the most probability, the worst first."""
        ranked = sorted(self._worst, key=lambda entry: entry[:2], reverse=True)
        return tuple(mistake for _, _, mistake in ranked)

    def labelled(self) -> tuple[Floats, NDArray[np.intp]]:
        """Probabilities (N, C) and true indices (N,) of the labelled pictures with an answer."""
        truth = np.array(self._truth, dtype=np.intp)
        shape = len(truth), len(self.labels)
        if not len(truth):
            return np.zeros(shape, np.float32), truth
        self._rows.flush()
        return np.asarray(np.memmap(self._rows, np.float32, "r", shape=shape)), truth

    def _contents(
        self, samples: Samples, pending: deque[Sample | Unreadable], cancelled: Cancelled
    ) -> Iterator[bytes]:
        for sample in samples:
            if cancelled():
                self.stopped = "it was stopped by the user"
                return
            if sample.label is not None and sample.label not in self._places:
                raise LabelError(unknown_labels([sample.label], self.labels))
            pending.append(sample)
            if isinstance(sample, Sample):
                yield sample.content

    def _next(self, pending: deque[Sample | Unreadable]) -> Sample | None:
        """The sample whose answer comes next; what cannot be read is recorded on the way."""
        while pending:
            sample = pending.popleft()
            if isinstance(sample, Sample):
                return sample
            self.records.append(Record(sample.name, sample.label, error=sample.reason))
        return None

    def _keep(self, sample: Sample, answer: Answer | Failure) -> None:
        if isinstance(answer, Failure):
            self.records.append(Record(sample.name, sample.label, error=answer.reason))
            return
        row = np.zeros(len(self.labels), np.float32)
        np.maximum.at(row, self._class_of, answer.probabilities)
        record = self._record(sample, answer, row)
        self.records.append(record)
        if sample.label is None:
            return
        self._truth.append(self._places[sample.label])
        self._rows.write(row.tobytes())
        if not record.correct:
            self._rank(sample, record, float(row.max()))

    def _record(self, sample: Sample, answer: Answer, row: Floats) -> Record:
        first = int(row.argmax())
        at = None if sample.label is None else self._places[sample.label]
        found = answer.prediction_set
        self.coverage = answer.coverage or self.coverage
        return Record(
            name=sample.name,
            label=sample.label,
            prediction=self.labels[first],
            confidence=float(row[first]),
            label_probability=None if at is None else float(row[at]),
            in_prediction_set=None if found is None or at is None else sample.label in found,
            set_size=None if found is None else len(found),
            in_distribution=answer.in_distribution,
            ood_score=answer.ood_score,
            ms=answer.seconds * 1e3,
        )

    def _rank(self, sample: Sample, record: Record, confidence: float) -> None:
        if len(self._worst) == MISTAKES and confidence <= self._worst[0][0]:
            return
        mistake = Mistake(record, thumbnail(sample.content))
        entry = (confidence, -len(self.records), mistake)  # of equals the earlier is kept
        if len(self._worst) == MISTAKES:
            heapq.heapreplace(self._worst, entry)
        else:
            heapq.heappush(self._worst, entry)


def unknown_labels(unknown: Iterable[str], labels: Sequence[str]) -> str:
    """Say which labels of the data a model does not know, naming a few."""
    names = sorted(unknown)
    named, own = ", ".join(map(repr, names[:3])), ", ".join(map(repr, labels[:3]))
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return f"the model does not know these labels of the data: {named}{more}; it knows {own}" + (
        " ..." if len(labels) > 3 else ""
    )
