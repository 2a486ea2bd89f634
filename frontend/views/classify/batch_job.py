"""Classification of many images in a background job, with retries. Independent of Streamlit."""

import time
from typing import Final

from client import BackendError, Client, ClientError
from client.retry import Retry
from frontend.service.predictions import ImageFile
from frontend.datasets.selections import ImageSelection
from frontend.service import errors, predictions
from frontend.service.predictions import BATCH_IMAGES, PredictionRequest
from frontend.state.jobs import Job
from frontend.ui import formatting

MAX_WAIT: Final = 300.0  # s without progress, until the job fails
MAX_DELAY: Final = 10.0  # s between two attempts without a Retry-After


def read(
    job: Job, client: Client, question: PredictionRequest, batch: ImageSelection, *, max_wait: float = MAX_WAIT
) -> ClientError | None:
    """Classify every image without an outcome; the batch stores each outcome at once.

    While the backend is unavailable or busy, requests are retried for up to `max_wait` seconds.
    Return None once all images have an outcome or the job is canceled, else the error that ended
    the job.
    """

    def report_wait(error: ClientError, seconds: float) -> None:
        batch.retries[question.key] = error, time.monotonic() + seconds

    retry = Retry(job.stop, on_wait=report_wait, max_seconds=max_wait, max_delay=MAX_DELAY)
    left = batch.pending(question)
    total = len(batch.images)
    while left and not job.is_cancelled():
        job.advance(total - len(left), total)
        error = _ask(client, question, batch, left)
        left = batch.pending(question)
        if error is None:
            retry.reset()
            continue
        is_retried = retry.wait(error)
        batch.retries.pop(question.key, None)
        if not is_retried and not job.stop.is_set():
            return error
    job.advance(total - len(left), total)
    return None


def says(job: Job, question: PredictionRequest, batch: ImageSelection) -> str:
    """Say how far the reading is, and what it waits for."""
    done = f"Read {job.done:,} of {formatting.count(job.total, 'picture', 'pictures')}."
    if (waits := batch.retries.get(question.key)) is None:
        return done
    trouble, again = waits
    wait = formatting.seconds(again - time.monotonic())
    return f"{done} {errors.describe(trouble).message} It is asked again in {wait}."


def _ask(
    client: Client, question: PredictionRequest, batch: ImageSelection, left: list[ImageFile]
) -> ClientError | None:
    """Ask for the next few pictures; return what keeps the service from answering, if anything."""
    some = left[:BATCH_IMAGES]
    trouble = None
    for picture, outcome in zip(
        some, predictions.classify(client, question, some, batch.cache), strict=True
    ):
        if isinstance(outcome, BackendError) and outcome.status == 500 and outcome.code:
            batch.cache.keep(picture, question, outcome)  # or it would be asked for ever
        elif isinstance(outcome, ClientError) and batch.cache.get(picture, question) is None:
            trouble = outcome
    return trouble
