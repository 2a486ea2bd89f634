"""Classification of many images in a background job, with retries. Imports no Streamlit."""

import time
from collections import deque
from typing import Final

from client import BackendError, Client, ClientError
from client.retry import Retry
from frontend.datasets.selections import ImageSelection
from frontend.service import errors, predictions
from frontend.service.predictions import BATCH_IMAGES, ImageFile, PredictionRequest
from frontend.state.jobs import Job
from frontend.ui import formatting

MAX_WAIT: Final = 300.0  # s without progress, until the job fails
MAX_DELAY: Final = 10.0  # s between two attempts without a Retry-After


def run(
    job: Job,
    client: Client,
    request: PredictionRequest,
    selection: ImageSelection,
    *,
    max_wait: float = MAX_WAIT,
) -> ClientError | None:
    """Classify every image without an outcome; the selection stores each outcome at once.

    While the backend is unavailable or busy, requests are retried for up to `max_wait` seconds.
    Return None once all images have an outcome or the job is canceled, else the error that ended
    the job.
    """

    def report_wait(error: ClientError, seconds: float) -> None:
        selection.retries[request.key] = error, time.monotonic() + seconds

    retry = Retry(job.stop, on_wait=report_wait, max_seconds=max_wait, max_delay=MAX_DELAY)
    pending = deque(selection.pending(request))
    total = len(selection.images)
    while pending and not job.is_cancelled():
        job.advance(total - len(pending), total)
        batch = [pending.popleft() for _ in range(min(BATCH_IMAGES, len(pending)))]
        error = _classify_batch(client, request, selection, batch)
        unfinished = [image for image in batch if selection.cache.get(image, request) is None]
        pending.extendleft(reversed(unfinished))
        if error is None:
            retry.reset()
            continue
        is_retried = retry.wait(error)
        selection.retries.pop(request.key, None)
        if not is_retried and not job.stop.is_set():
            return error
    job.advance(total - len(pending), total)
    return None


def progress_text(job: Job, request: PredictionRequest, selection: ImageSelection) -> str:
    """Return how many images are classified, and the reason for a retry."""
    progress = f"{job.done:,} of {formatting.count(job.total, 'image', 'images')} classified."
    if (retry := selection.retries.get(request.key)) is None:
        return progress
    error, retry_at = retry
    wait = formatting.seconds(retry_at - time.monotonic())
    return f"{progress} {errors.describe(error).message} Retrying in {wait}."


def _classify_batch(
    client: Client, request: PredictionRequest, selection: ImageSelection, images: list[ImageFile]
) -> ClientError | None:
    """Classify a few images; return the error of the backend itself, if any."""
    backend_error = None
    outcomes = predictions.classify(client, request, images, selection.cache)
    for image, outcome in zip(images, outcomes, strict=True):
        if isinstance(outcome, BackendError) and outcome.status == 500 and outcome.code:
            selection.cache.put_always(image, request, outcome)  # prevents endless retries
        elif isinstance(outcome, ClientError) and selection.cache.get(image, request) is None:
            backend_error = outcome
    return backend_error
