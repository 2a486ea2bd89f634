"""Reading a clip with a model, and what is told of it where not all could be read."""

from collections.abc import Callable, Iterator, Sequence
from itertools import count
from typing import Any, cast

import pytest

from client import (
    BackendError,
    BackendUnreachable,
    Classification,
    Client,
    InvalidAnswer,
    ItemError,
)
from frontend.service.predictions import PredictionRequest
from frontend.state.jobs import Job
from frontend.views.video import status, video_job
from frontend.views.video.result import Reading, Source
from frontend.views.video.video_job import read
from tests.frontend.views.video.clips import clip, sevens_then_noise
from tests.frontend.views.video.results import MODEL, answer
from tests.images import noise

CLIP = clip(sevens_then_noise(64))
NOT_PLAYED = clip(sevens_then_noise(64), codec="mpeg4")
AWAY = BackendUnreachable("http://backend")
BUSY = BackendError(status=429, code="queue_full", retry_after=7)

Read = Callable[..., Reading]
Trouble = BackendUnreachable | BackendError | InvalidAnswer


class Backend:
    """Answers that all is a 7, after the `troubles`, one for each request."""

    def __init__(self, *troubles: Trouble, for_ever: Trouble | None = None, after: int = 0) -> None:
        self.troubles = list(troubles)
        self.for_ever = for_ever
        self.after = after  # answers, then troubles
        self.asked: list[int] = []
        self.options: dict[str, Any] = {}

    def classify_batch(
        self, images: Sequence[tuple[str, bytes]], **options: Any
    ) -> Iterator[Classification | ItemError]:
        self.asked.append(len(images))
        self.options = options
        for _image in images:
            if self.after == 0:
                if self.troubles:
                    raise self.troubles.pop(0)
                if self.for_ever is not None:
                    raise self.for_ever
            self.after = max(0, self.after - 1)
            yield answer("7")

    def classify(self, image: bytes, **options: Any) -> Classification:
        (found,) = self.classify_batch([("one", image)], **options)
        assert isinstance(found, Classification)
        return found


@pytest.fixture
def job() -> Job:
    return Job(lambda job: None, lambda: 0.0)


@pytest.fixture
def waits(job: Job, monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """How long was waited, without any waiting: ten seconds pass between two looks at the clock."""
    asked: list[float] = []
    clock = count(0.0, 10.0)
    monkeypatch.setattr("client.retry.monotonic", lambda: next(clock))
    monkeypatch.setattr(job.stop, "wait", asked.append)
    return asked


@pytest.fixture
def reading(job: Job) -> Read:
    """A function that reads a clip for the job."""

    def done(backend: Any, content: bytes = CLIP, rate: float = 5) -> Reading:
        source = Source.of("clip.mp4", content)
        return read(job, cast(Client, backend), PredictionRequest(MODEL), source, rate)

    return done


def test_each_frame_has_an_answer_and_lasts_until_the_next(reading: Read, job: Job) -> None:
    done = reading(Backend())
    assert [frame.start for frame in done.frames] == pytest.approx([n / 5 for n in range(20)])
    assert [frame.end for frame in done.frames] == pytest.approx([n / 5 for n in range(1, 21)])
    assert (job.done, job.total) == (20, 20)
    assert status.of(done) is None
    done.close()


def test_frames_stay_out_of_the_history(reading: Read) -> None:
    backend = Backend()
    reading(backend).close()
    assert backend.options["store"] is False


def test_only_small_pictures_are_kept(reading: Read) -> None:
    done = reading(Backend(), clip(sevens_then_noise(640)))
    assert all(1_000 < len(frame.thumbnail) < 20_000 for frame in done.frames)
    assert all(
        isinstance(frame.outcome, Classification) and frame.outcome.probabilities is None
        for frame in done.frames
    )
    done.close()


@pytest.mark.parametrize("content", [CLIP, NOT_PLAYED])
def test_what_is_played_is_there_until_the_reading_is_closed(content: bytes, reading: Read) -> None:
    done = reading(Backend(), content)
    assert done.played is not None
    path, media_type = done.played
    assert path.stat().st_size > 1000
    assert media_type == "video/mp4"
    done.close()
    assert not path.parent.exists()


def test_the_same_clip_is_read_again_without_being_sent_again(reading: Read, job: Job) -> None:
    first = reading(Backend(), rate=1)
    again = first.source.again()
    first.close()
    second = read(job, cast(Client, Backend()), PredictionRequest(MODEL), again, 2)
    assert len(second.frames) == 8
    second.close()


@pytest.mark.parametrize("trouble", [AWAY, BUSY, InvalidAnswer("ends early")])
def test_a_backend_that_is_away_or_busy_is_waited_for(
    trouble: Trouble, waits: list[float], reading: Read
) -> None:
    backend = Backend(trouble, trouble, after=3)
    done = reading(backend)
    assert len(done.frames) == 20
    assert done.failure is None
    asked = trouble.retry_after if isinstance(trouble, BackendError) else None
    assert waits == [asked or video_job.RETRY_DELAY] * 2


def test_what_was_answered_before_it_went_away_is_not_asked_again(
    waits: list[float], reading: Read
) -> None:
    backend = Backend(AWAY, after=3)
    done = reading(backend, clip(varied(8)), rate=10)
    assert backend.asked == [8, 5]
    assert len(done.frames) == 8


def test_a_backend_that_stays_away_is_given_up_and_what_there_is_is_kept(
    waits: list[float], reading: Read
) -> None:
    done = reading(Backend(for_ever=AWAY, after=11), clip(varied(40)), rate=10)
    assert done.failure is AWAY
    assert len(done.frames) == 11
    assert sum(waits) > 5
    problem = status.of(done)
    assert problem is not None
    assert "not reachable" in problem.message
    assert "its first 1.1 seconds" in problem.message
    assert "Read it again" in problem.advice


def test_a_refusal_that_waiting_does_not_mend_is_told_at_once(
    waits: list[float], reading: Read
) -> None:
    done = reading(Backend(for_ever=BackendError(status=404, code="unknown_model")))
    assert (len(done.frames), waits) == (0, [])
    problem = status.of(done)
    assert problem is not None
    assert "does not serve this model" in problem.message


def test_a_frame_that_is_refused_is_an_answer_like_any_other(reading: Read) -> None:
    refused = ItemError(None, BackendError(status=415))

    class Picky(Backend):
        def classify_batch(self, images: Any, **options: Any) -> Iterator[Any]:
            yield refused
            yield from super().classify_batch(images[1:], **options)

    done = reading(Picky(), clip(varied(8)), rate=10)
    assert len(done.frames) == 8
    assert done.frames[0].outcome is refused.error


def test_stopping_keeps_what_was_read_and_a_copy_to_play(reading: Read, job: Job) -> None:
    class Stopping(Backend):
        def classify_batch(self, images: Any, **options: Any) -> Iterator[Any]:
            job.cancel()
            yield from super().classify_batch(images, **options)

    long = clip(varied(40) * 10, codec="mpeg4", rate=30)
    done = reading(Stopping(), long, rate=30)
    assert 8 <= len(done.frames) < 400
    assert done.stopped
    assert done.played is not None
    problem = status.of(done)
    assert problem is not None
    assert problem.message.startswith("It was stopped. What follows is of its first")


def test_what_is_no_clip_is_told_in_words(reading: Read) -> None:
    done = reading(Backend(), b"no video")
    assert (list(done.frames), done.info, done.played) == ([], None, None)
    problem = status.of(done)
    assert problem is not None
    assert problem.message.startswith("This file is not a video that can be read here")
    assert "MP4, MOV, WebM" in problem.advice


def test_a_clip_that_is_too_long_says_how_far_it_was_read(reading: Read) -> None:
    done = reading(Backend(), clip(varied(65) * 2, rate=1), rate=1)
    problem = status.of(done)
    assert problem is not None
    assert "of its first 120.0 seconds" in problem.message
    assert "Cut it into parts of 120 seconds" in problem.advice


def test_a_clip_of_too_many_frames_says_how_to_get_further(reading: Read) -> None:
    done = reading(Backend(), clip(varied(100) * 13, rate=30), rate=30)
    assert len(done.frames) == 1200
    problem = status.of(done)
    assert problem is not None
    assert "choose fewer per second" in problem.advice


def test_an_error_of_ours_leaves_no_clip_behind(job: Job) -> None:
    class Broken(Backend):
        def classify_batch(self, images: Any, **_: Any) -> Iterator[Any]:
            raise RuntimeError

    source = Source.of("clip.mp4", CLIP)
    with pytest.raises(RuntimeError):
        read(job, cast(Client, Broken()), PredictionRequest(MODEL), source, 2)
    assert not source.clip.parent.exists()


def varied(number: int) -> list[Any]:
    """Pictures that differ: equal ones are asked for once."""
    return [noise(64, 64, seed=n) for n in range(number)]


def test_while_it_is_read_the_last_answer_is_told(reading: Read, job: Job) -> None:
    reading(Backend(), clip(varied(8)), rate=10)
    assert job.note == "At second 0.7: 7 (98 %)"
