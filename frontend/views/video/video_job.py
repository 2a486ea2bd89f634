"""Classify the frames of a clip in a background job. Independent of Streamlit.

result = classify_clip(job, client, request, ClipSource.create("clip.mp4", content), rate=2.0)
"""

import math
from collections import deque
from collections.abc import Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from typing import Final

from client import BackendError, Classification, Client, ClientError
from client.batches import split_batches
from client.retry import TEMPORARY_STATUSES, Retry
from frontend.service import predictions
from frontend.service.errors import is_permanent
from frontend.service.predictions import ImageFile, Outcome, PredictionCache, PredictionRequest
from frontend.state.jobs import Job
from frontend.views.video import limits
from frontend.views.video.export import caption
from frontend.views.video.frame_reader import FrameReader
from frontend.views.video.protocol import ClipInfo, End, Frame
from frontend.views.video.result import ClassifiedFrame, VideoResult
from frontend.views.video.source import ClipSource

BATCH_SIZE: Final = 8  # frames per request
BATCH_BYTES: Final = 16_000_000
MAX_PENDING: Final = 2  # requests queued or in progress while further frames are decoded
MAX_WAIT: Final = 120.0  # s without any new prediction, until the job fails
RETRY_DELAY: Final = 1.0  # s between two attempts without a Retry-After
MAX_RETRY_AFTER: Final = 30.0  # s, upper bound of the backend's Retry-After


class FrameClassifier:
    """Classify the frames of a job with retries; `failure` is the error that ended it, if any.

    An image that cannot be decoded has an error as its outcome. After a failure, or once the job is
    canceled, no further requests are sent.
    """

    def __init__(self, client: Client, request: PredictionRequest, job: Job) -> None:
        self.failure: ClientError | None = None
        self._client = client
        self._request = replace(request, store=False)  # a clip would flood the history
        self._job = job
        self._cache = PredictionCache()

    def classify(self, images: Sequence[ImageFile]) -> list[Outcome]:
        """Return one outcome per image; after a failure only those before the first missing one."""
        retry = Retry(
            self._job.stop,
            on_wait=self._report_wait,
            max_seconds=MAX_WAIT,
            initial_delay=RETRY_DELAY,
            max_delay=RETRY_DELAY,
            max_retry_after=MAX_RETRY_AFTER,
            statuses=TEMPORARY_STATUSES | {500},
            invalid_response=True,
        )
        max_classified = 0
        while self.failure is None and not self._job.stop.is_set():
            outcomes = predictions.classify(self._client, self._request, images, self._cache)
            errors = [
                one for one in outcomes if isinstance(one, ClientError) and not is_permanent(one)
            ]
            if not errors:
                return outcomes
            classified = len(outcomes) - len(errors)
            if classified > max_classified:
                max_classified = classified
                retry.reset()
            if not retry.wait(errors[0]) and not self._job.stop.is_set():
                self.failure = errors[0]
        return self._cached_outcomes(images)

    def _report_wait(self, error: ClientError, _seconds: float) -> None:
        state = "busy" if isinstance(error, BackendError) else "not reachable"
        self._job.note = f"Waiting for the backend ({state})."

    def _cached_outcomes(self, images: Sequence[ImageFile]) -> list[Outcome]:
        outcomes = []
        for image in images:
            if (outcome := self._cache.get(image, self._request)) is None:
                break
            outcomes.append(outcome)
        return outcomes


def classify_clip(
    job: Job, client: Client, request: PredictionRequest, source: ClipSource, rate: float
) -> VideoResult:
    """Classify `rate` frames per second of a clip, while the next ones are being decoded.

    The result holds only thumbnails of the frames. Requests are retried while the backend is
    unavailable or busy.
    """
    try:
        return _classify_clip(job, client, request, source, rate)
    except BaseException:
        source.close()
        raise


def _classify_clip(
    job: Job, client: Client, request: PredictionRequest, source: ClipSource, rate: float
) -> VideoResult:
    classified: list[tuple[float, Outcome, bytes]] = []  # time, outcome, thumbnail
    classifier = FrameClassifier(client, request, job)
    reader = FrameReader(source.clip, source.preview, rate=rate, is_stopped=job.is_cancelled)
    with reader, ThreadPoolExecutor(1, thread_name_prefix="video") as pool:
        pending: deque[tuple[list[Frame], Future[list[Outcome]]]] = deque()

        def collect_oldest() -> None:
            batch, future = pending.popleft()
            for frame, outcome in zip(batch, future.result(), strict=False):
                classified.append((frame.time, _drop_probabilities(outcome), frame.thumbnail))
                job.note = f"At {frame.time:.1f} s: {caption(outcome, request.model.input.kind)}"
            job.advance(len(classified), _expected_frames(reader.info, rate))

        batches = split_batches(
            reader, max_items=BATCH_SIZE, max_bytes=BATCH_BYTES, size=lambda frame: len(frame.image)
        )
        for batch in batches:
            pending.append((batch, pool.submit(classifier.classify, _to_images(batch))))
            if len(pending) > MAX_PENDING:
                collect_oldest()
            if classifier.failure is not None:
                break
        while pending:
            collect_oldest()
    return VideoResult(
        source=source,
        request=request,
        rate=rate,
        info=reader.info,
        end=reader.end or End(),
        frames=_with_end_times(classified, reader.end.seconds if reader.end else 0.0, rate),
        failure=classifier.failure,
        is_stopped=job.is_cancelled(),
    )


def _to_images(batch: Iterable[Frame]) -> list[ImageFile]:
    return [ImageFile(f"{frame.time:.2f} s.jpg", frame.image) for frame in batch]


def _drop_probabilities(outcome: Outcome) -> Outcome:
    """Remove the probabilities of all labels, which the page does not show."""
    if isinstance(outcome, Classification):
        return replace(outcome, probabilities=None)
    return outcome


def _expected_frames(info: ClipInfo | None, rate: float) -> int:
    """Return how many frames will be classified; 0 if the clip's length is unknown."""
    if info is None or info.seconds is None:
        return 0
    return min(math.ceil(min(info.seconds, limits.MAX_SECONDS) * rate), limits.MAX_FRAMES)


def _with_end_times(
    classified: Sequence[tuple[float, Outcome, bytes]], seconds: float, rate: float
) -> list[ClassifiedFrame]:
    """End each frame where the next one starts, and the last one after a sampling interval."""
    starts = [time for time, _, _ in classified]
    last = starts[-1] + 1 / rate if starts else 0.0
    ends = [*starts[1:], max(min(seconds, last), starts[-1] + 0.04)] if starts else []
    return [
        ClassifiedFrame(start, end, outcome, thumbnail)
        for (start, outcome, thumbnail), end in zip(classified, ends, strict=True)
    ]
