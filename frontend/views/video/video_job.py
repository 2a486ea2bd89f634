"""Asking a model about the frames of a clip, in a job. No Streamlit in here.

reading = read(job, client, question, Source.of("clip.mp4", content), rate=2.0)
"""

import math
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from typing import Final

from client import Classification, Client
from frontend.datasets.images import Picture
from frontend.service.predictions import Outcome, Question
from frontend.state.jobs import Job
from frontend.views.video import limits
from frontend.views.video.export import caption
from frontend.views.video.frame_reader import Frames
from frontend.views.video.protocol import End, Frame, Info
from frontend.views.video.result import Answered, Reading, Source
from frontend.views.video.retry import Asker

BATCH: Final = 8  # frames of one request
FLYING: Final = 2  # requests that wait or are under way, while further frames are decoded


def read(job: Job, client: Client, question: Question, source: Source, rate: float) -> Reading:
    """Ask about `rate` frames per second of a clip, while the next ones are being decoded.

    Of the frames only thumbnails are kept. A backend that is silent or busy is waited for.
    """
    try:
        return _read(job, client, question, source, rate)
    except BaseException:
        source.close()
        raise


def _read(job: Job, client: Client, question: Question, source: Source, rate: float) -> Reading:
    answered: list[tuple[float, Outcome, bytes]] = []
    asker = Asker(client, question, job)
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

        for batch in _batches(frames):
            flying.append((batch, pool.submit(asker, _pictures(batch))))
            if len(flying) > FLYING:
                land()
            if asker.failure is not None:
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
        failure=asker.failure,
        stopped=job.is_cancelled(),
    )


def _batches(frames: Iterable[Frame]) -> Iterator[list[Frame]]:
    batch: list[Frame] = []
    for frame in frames:
        batch.append(frame)
        if len(batch) == BATCH:
            yield batch
            batch = []
    if batch:
        yield batch


def _pictures(batch: Iterable[Frame]) -> list[Picture]:
    return [Picture(f"{frame.time:.2f} s.jpg", frame.picture) for frame in batch]


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
