"""Asking a model about the frames of a clip, in a job. No Streamlit in here.

reading = read(job, client, question, Source.of("clip.mp4", content), rate=2.0)
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
from frontend.service.predictions import ImageFile
from frontend.service import predictions
from frontend.service.errors import is_permanent
from frontend.service.predictions import PredictionCache, Outcome, PredictionRequest
from frontend.state.jobs import Job
from frontend.views.video import limits
from frontend.views.video.export import caption
from frontend.views.video.frame_reader import Frames
from frontend.views.video.protocol import End, Frame, Info
from frontend.views.video.result import Answered, Reading, Source

BATCH: Final = 8  # frames of one request
BATCH_BYTES: Final = 16_000_000
FLYING: Final = 2  # requests that wait or are under way, while further frames are decoded
MAX_WAIT: Final = 120.0  # s without any new prediction, until the job fails
RETRY_DELAY: Final = 1.0  # s between two attempts without a Retry-After
MAX_RETRY_AFTER: Final = 30.0  # s, upper bound of the backend's Retry-After


class FrameClassifier:
    """Classifies frames of a job with retries; `failure` is the error that ended it, if any.

    An image that cannot be decoded has an error as its outcome. After a failure, or once the job is
    canceled, no further requests are sent.
    """

    def __init__(self, client: Client, question: PredictionRequest, job: Job) -> None:
        self.failure: ClientError | None = None
        self._client = client
        self._question = replace(question, store=False)  # a clip would flood the history
        self._job = job
        self._memory = PredictionCache()

    def classify(self, pictures: Sequence[ImageFile]) -> list[Outcome]:
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
        most_answered = 0
        while self.failure is None and not self._job.stop.is_set():
            outcomes = predictions.classify(self._client, self._question, pictures, self._memory)
            errors = [
                one for one in outcomes if isinstance(one, ClientError) and not is_permanent(one)
            ]
            if not errors:
                return outcomes
            answered = len(outcomes) - len(errors)
            if answered > most_answered:
                most_answered = answered
                retry.reset()
            if not retry.wait(errors[0]) and not self._job.stop.is_set():
                self.failure = errors[0]
        return self._known(pictures)

    def _report_wait(self, error: ClientError, _seconds: float) -> None:
        state = "busy" if isinstance(error, BackendError) else "not reachable"
        self._job.note = f"Waiting for the backend, which is {state}."

    def _known(self, pictures: Sequence[ImageFile]) -> list[Outcome]:
        outcomes = []
        for picture in pictures:
            if (outcome := self._memory.get(picture, self._question)) is None:
                break
            outcomes.append(outcome)
        return outcomes


def read(job: Job, client: Client, question: PredictionRequest, source: Source, rate: float) -> Reading:
    """Ask about `rate` frames per second of a clip, while the next ones are being decoded.

    Of the frames only thumbnails are kept. A backend that is silent or busy is waited for.
    """
    try:
        return _read(job, client, question, source, rate)
    except BaseException:
        source.close()
        raise


def _read(job: Job, client: Client, question: PredictionRequest, source: Source, rate: float) -> Reading:
    answered: list[tuple[float, Outcome, bytes]] = []
    classifier = FrameClassifier(client, question, job)
    reader = Frames(source.clip, source.preview, rate=rate, is_stopped=job.is_cancelled)
    with reader as frames, ThreadPoolExecutor(1, thread_name_prefix="video") as pool:
        flying: deque[tuple[list[Frame], Future[list[Outcome]]]] = deque()

        def land() -> None:
            batch, future = flying.popleft()
            for frame, outcome in zip(batch, future.result(), strict=False):
                answered.append((frame.time, _slim(outcome), frame.thumbnail))
                said = caption(outcome, question.model.input.kind)
                job.note = f"At second {frame.time:.1f}: {said}"
            job.advance(len(answered), _expected(frames.info, rate))

        batches = split_batches(
            frames, max_items=BATCH, max_bytes=BATCH_BYTES, size=lambda frame: len(frame.picture)
        )
        for batch in batches:
            flying.append((batch, pool.submit(classifier.classify, _pictures(batch))))
            if len(flying) > FLYING:
                land()
            if classifier.failure is not None:
                break
        while flying:
            land()
    return Reading(
        source=source,
        question=question,
        rate=rate,
        info=frames.info,
        end=frames.end or End(),
        frames=_lasting(answered, frames.end.seconds if frames.end else 0.0, rate),
        failure=classifier.failure,
        stopped=job.is_cancelled(),
    )


def _pictures(batch: Iterable[Frame]) -> list[ImageFile]:
    return [ImageFile(f"{frame.time:.2f} s.jpg", frame.picture) for frame in batch]


def _slim(outcome: Outcome) -> Outcome:
    """Leave out the thousand numbers that nobody shows."""
    if isinstance(outcome, Classification):
        return replace(outcome, probabilities=None)
    return outcome


def _expected(info: Info | None, rate: float) -> int:
    """Return how many frames there will be; 0 where that cannot be known."""
    if info is None or info.seconds is None:
        return 0
    return min(math.ceil(min(info.seconds, limits.SECONDS) * rate), limits.FRAMES)


def _lasting(
    answered: Sequence[tuple[float, Outcome, bytes]], seconds: float, rate: float
) -> list[Answered]:
    """Let each frame last until the next one, and the last one for as long as it was sampled."""
    starts = [time for time, _, _ in answered]
    last = starts[-1] + 1 / rate if starts else 0.0
    ends = [*starts[1:], max(min(seconds, last), starts[-1] + 0.04)] if starts else []
    return [
        Answered(start, end, outcome, thumbnail)
        for (start, outcome, thumbnail), end in zip(answered, ends, strict=True)
    ]
