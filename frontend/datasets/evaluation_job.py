"""Measuring a served model on labelled pictures, as work of a job. No Streamlit in here."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Final

from client import Client, ModelInfo
from evaluation.errors import EvaluationError
from evaluation.evaluate import check_labels, evaluate
from evaluation.predictors.served import ServedPredictor
from evaluation.results import Evaluation
from frontend.datasets.confusions import Confusions
from frontend.datasets.dataset import Labelled
from frontend.state.jobs import Job

TRIES: Final = 14  # a good minute and a half of waiting for a backend that starts again


@dataclass(frozen=True, slots=True)
class Backend:
    """Whom to ask, and for which coverage."""

    client: Client
    coverage: float | None


@dataclass
class Measurement:
    """What was found out about `model`, and the pictures; `trouble` says why there is nothing."""

    model: ModelInfo
    data: Labelled
    evaluation: Evaluation | None = None
    trouble: str | None = None

    def close(self) -> None:
        """Give the pictures back."""
        self.data.close()

    @cached_property
    def confusions(self) -> Confusions:
        """Which pictures were taken for what."""
        records = self.evaluation.records if self.evaluation else ()
        return Confusions(records, self.model.labels)


def check(model: ModelInfo, data: Labelled) -> None:
    """Raise LabelError where the pictures have labels that the model does not know."""
    check_labels(data.source.labels, model.labels, data.source.above)


def measure(backend: Backend, model: ModelInfo, data: Labelled, job: Job) -> Measurement:
    """Measure one model; what was measured until an error or a stop is the result."""
    found = Measurement(model, data)
    try:
        found.evaluation = run(backend, model, data, job, Pace(job, len(data.source)))
        _ = found.confusions  # now, not while a person waits for the page
    except EvaluationError as error:
        found.trouble = sentence(error)
    except BaseException:
        data.close()
        raise
    return found


def run(backend: Backend, model: ModelInfo, data: Labelled, job: Job, pace: "Pace") -> Evaluation:
    """Ask about every picture, waiting for a backend that is away; raises EvaluationError."""
    source = data.source
    with ServedPredictor(
        backend.client,
        model.name,
        coverage=backend.coverage or 0.95,
        stop=job.stop,
        tries=TRIES,
        waiting=pace.waits,
    ) as predictor:
        check_labels(source.labels, predictor.labels, source.above)
        return evaluate(
            source.samples(),
            predictor,
            source=data.name,
            total=len(source),
            notes=source.notes,
            progress=pace.advance,
            cancelled=job.is_cancelled,
        )


class Pace:
    """Tells a job how far the work is, how fast, and how long it will take."""

    def __init__(self, job: Job, total: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._job = job
        self._clock = clock
        self._began = clock()
        self._before = 0
        job.advance(0, total)

    def advance(self, done: int) -> None:
        """Say that `done` pictures of this part are done."""
        job = self._job
        job.advance(self._before + done)
        spent = self._clock() - self._began
        if spent > 0 and job.done:
            rate = job.done / spent
            left = (job.total - job.done) / rate
            job.note = f", {rate:,.0f} a second, {duration(left)} left"

    def part(self) -> None:
        """Say that what follows is counted from 0 again."""
        self._before = self._job.done

    def waits(self, reason: str) -> None:
        """Say that the backend keeps the work waiting."""
        self._job.note = ". Waiting for the backend, it goes on by itself"


def progress(job: Job) -> str:
    """Say how far a job is."""
    return f"{job.done:,} of {job.total:,} pictures{job.note}"


def duration(seconds: float) -> str:
    """Write a time to wait, roughly."""
    if seconds < 90:
        return f"about {max(1, round(seconds))} s"
    return f"about {round(seconds / 60)} min"


def share(value: float) -> str:
    """Write a measured share of many pictures: two models may differ in the second decimal."""
    return f"{100 * value:.2f} %"


def sentence(error: Exception | str) -> str:
    """Make a sentence of what evaluation says."""
    text = str(error).replace(" ...", ", …").rstrip(".")
    if text.startswith("http"):
        return f"The backend at {text}."
    return f"{text[:1].upper()}{text[1:]}."
