"""Reading many pictures in a job, with patience for the backend. No Streamlit in here."""

import time
from typing import Final

from client import BackendError, Client, ClientError
from frontend.datasets.images import Picture
from frontend.datasets.selections import Batch
from frontend.service import errors, predictions
from frontend.service.predictions import BATCH_PICTURES, Question
from frontend.state.jobs import Job
from frontend.ui import formatting

PATIENCE: Final = 300.0  # s that a backend may be away
LONGEST_PAUSE: Final = 10.0  # s between two attempts, unless the backend names more


def read(
    job: Job, client: Client, question: Question, batch: Batch, *, patience: float = PATIENCE
) -> ClientError | None:
    """Ask for every picture of which nothing is known; the batch remembers each answer at once.

    A backend that is away or busy is asked again with growing pauses, for `patience` in seconds.
    Returns None where all was asked, or the job cancelled, else the error that ended it.
    """
    away_since: float | None = None
    attempts = 0
    left = batch.unread(question)
    total = len(batch.pictures)
    while left and not job.is_cancelled():
        job.advance(total - len(left), total)
        trouble = _ask(client, question, batch, left)
        left = batch.unread(question)
        if trouble is None:
            away_since, attempts = None, 0
            continue
        away_since = time.monotonic() if away_since is None else away_since
        if not errors.is_absence(trouble) or time.monotonic() - away_since > patience:
            return trouble
        attempts += 1
        _pause(job, question, batch, trouble, attempts)
    job.advance(total - len(left), total)
    return None


def says(job: Job, question: Question, batch: Batch) -> str:
    """Say how far the reading is, and what it waits for."""
    done = f"Read {job.done:,} of {formatting.count(job.total, 'picture', 'pictures')}."
    if (waits := batch.waits.get(question.key)) is None:
        return done
    trouble, again = waits
    wait = formatting.seconds(again - time.monotonic())
    return f"{done} {errors.of(trouble).what} It is asked again in {wait}."


def _ask(
    client: Client, question: Question, batch: Batch, left: list[Picture]
) -> ClientError | None:
    """Ask for the next few pictures; return what keeps the service from answering, if anything."""
    some = left[:BATCH_PICTURES]
    trouble = None
    for picture, outcome in zip(
        some, predictions.ask(client, question, some, batch.memory), strict=True
    ):
        if isinstance(outcome, BackendError) and outcome.status == 500 and outcome.code:
            batch.memory.keep(picture, question, outcome)  # or it would be asked for ever
        elif isinstance(outcome, ClientError) and batch.memory.get(picture, question) is None:
            trouble = outcome
    return trouble


def _pause(job: Job, question: Question, batch: Batch, trouble: ClientError, attempts: int) -> None:
    named = errors.of(trouble).again or 0.0
    pause = max(named, min(2.0 ** (attempts - 1), LONGEST_PAUSE))
    batch.waits[question.key] = trouble, time.monotonic() + pause
    job.stop.wait(pause)
    batch.waits.pop(question.key, None)
