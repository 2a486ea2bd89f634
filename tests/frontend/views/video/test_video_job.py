"""The job that classifies a clip, with retries and partial results."""

from collections.abc import Callable, Iterator, Sequence
from itertools import count
from typing import Any, cast

import pytest

from client import (
    BackendError,
    BackendUnreachable,
    Classification,
    Client,
    InvalidResponse,
    ItemError,
)
from frontend.service.predictions import PredictionRequest
from frontend.state.jobs import Job
from frontend.views.video import status, video_job
from frontend.views.video.result import VideoResult
from frontend.views.video.source import ClipSource
from frontend.views.video.video_job import classify_clip
from tests.frontend.samples import MODEL, make_classification
from tests.frontend.views.video.clips import clip, sevens_then_noise
from tests.images import noise

CLIP = clip(sevens_then_noise(64))
UNPLAYABLE = clip(sevens_then_noise(64), codec="mpeg4")
UNREACHABLE = BackendUnreachable("http://backend")
BUSY = BackendError(status=429, code="queue_full", retry_after=7)

Run = Callable[..., VideoResult]
TemporaryError = BackendUnreachable | BackendError | InvalidResponse


class FakeBackend:
    """Predict 7 for every image.

    After `after` predictions, raise each of `errors` once, then `permanent_error` each time.
    """

    def __init__(
        self,
        *errors: TemporaryError,
        permanent_error: TemporaryError | None = None,
        after: int = 0,
    ) -> None:
        self.errors = list(errors)
        self.permanent_error = permanent_error
        self.after = after
        self.batch_sizes: list[int] = []
        self.options: dict[str, Any] = {}

    def classify_batch(
        self, images: Sequence[tuple[str, bytes]], **options: Any
    ) -> Iterator[Classification | ItemError]:
        self.batch_sizes.append(len(images))
        self.options = options
        for _image in images:
            if self.after == 0:
                if self.errors:
                    raise self.errors.pop(0)
                if self.permanent_error is not None:
                    raise self.permanent_error
            self.after = max(0, self.after - 1)
            yield make_classification(("7", 0.98))

    def classify(self, image: bytes, **options: Any) -> Classification:
        (result,) = self.classify_batch([("one", image)], **options)
        assert isinstance(result, Classification)
        return result


@pytest.fixture
def job() -> Job:
    return Job(lambda job: None, lambda: 0.0)


@pytest.fixture
def delays(job: Job, monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Record the delays without waiting; ten seconds pass between two readings of the clock."""
    delays: list[float] = []
    clock = count(0.0, 10.0)
    monkeypatch.setattr("client.retry.monotonic", lambda: next(clock))
    monkeypatch.setattr(job.stop, "wait", delays.append)
    return delays


@pytest.fixture
def run(job: Job) -> Run:
    """Return a function that classifies a clip in the job."""

    def classify(backend: Any, content: bytes = CLIP, rate: float = 5) -> VideoResult:
        source = ClipSource.create("clip.mp4", content)
        return classify_clip(job, cast(Client, backend), PredictionRequest(MODEL), source, rate)

    return classify


def test_each_frame_has_an_outcome_and_lasts_until_the_next(run: Run, job: Job) -> None:
    result = run(FakeBackend())
    assert [frame.start for frame in result.frames] == pytest.approx([n / 5 for n in range(20)])
    assert [frame.end for frame in result.frames] == pytest.approx([n / 5 for n in range(1, 21)])
    assert (job.done, job.total) == (20, 20)
    assert status.describe_problem(result) is None
    result.close()


def test_frames_are_not_stored_in_the_history(run: Run) -> None:
    backend = FakeBackend()
    run(backend).close()
    assert backend.options["store"] is False


def test_result_holds_thumbnails_only(run: Run) -> None:
    result = run(FakeBackend(), clip(sevens_then_noise(640)))
    assert all(1_000 < len(frame.thumbnail) < 20_000 for frame in result.frames)
    assert all(
        isinstance(frame.outcome, Classification) and frame.outcome.probabilities is None
        for frame in result.frames
    )
    result.close()


@pytest.mark.parametrize("content", [CLIP, UNPLAYABLE])
def test_playable_file_exists_until_the_result_is_closed(content: bytes, run: Run) -> None:
    result = run(FakeBackend(), content)
    assert result.playable_file is not None
    path, media_type = result.playable_file
    assert path.stat().st_size > 1000
    assert media_type == "video/mp4"
    result.close()
    assert not path.parent.exists()


def test_clip_is_classified_again_without_an_upload(run: Run, job: Job) -> None:
    first = run(FakeBackend(), rate=1)
    again = first.source.copy()
    first.close()
    second = classify_clip(job, cast(Client, FakeBackend()), PredictionRequest(MODEL), again, 2)
    assert len(second.frames) == 8
    second.close()


@pytest.mark.parametrize("error", [UNREACHABLE, BUSY, InvalidResponse("ends early")])
def test_temporary_error_is_retried(error: TemporaryError, delays: list[float], run: Run) -> None:
    backend = FakeBackend(error, error, after=3)
    result = run(backend)
    assert len(result.frames) == 20
    assert result.failure is None
    retry_after = error.retry_after if isinstance(error, BackendError) else None
    assert delays == [retry_after or video_job.RETRY_DELAY] * 2


def test_retry_omits_classified_frames(delays: list[float], run: Run) -> None:
    backend = FakeBackend(UNREACHABLE, after=3)
    result = run(backend, clip(varied(8)), rate=10)
    assert backend.batch_sizes == [8, 5]
    assert len(result.frames) == 8


def test_unreachable_backend_yields_a_partial_result(delays: list[float], run: Run) -> None:
    result = run(FakeBackend(permanent_error=UNREACHABLE, after=11), clip(varied(40)), rate=10)
    assert result.failure is UNREACHABLE
    assert len(result.frames) == 11
    assert sum(delays) > 5
    problem = status.describe_problem(result)
    assert problem is not None
    assert "not reachable" in problem.message
    assert "the first 1.1 seconds" in problem.message
    assert "Classify it again" in problem.advice


def test_permanent_error_is_not_retried(delays: list[float], run: Run) -> None:
    result = run(FakeBackend(permanent_error=BackendError(status=404, code="unknown_model")))
    assert (len(result.frames), delays) == (0, [])
    problem = status.describe_problem(result)
    assert problem is not None
    assert "does not serve this model" in problem.message


def test_rejected_frame_is_an_outcome(run: Run) -> None:
    rejected = ItemError(None, BackendError(status=415))

    class Rejecting(FakeBackend):
        def classify_batch(self, images: Any, **options: Any) -> Iterator[Any]:
            yield rejected
            yield from super().classify_batch(images[1:], **options)

    result = run(Rejecting(), clip(varied(8)), rate=10)
    assert len(result.frames) == 8
    assert result.frames[0].outcome is rejected.error


def test_stop_yields_a_partial_result_with_a_preview(run: Run, job: Job) -> None:
    class Stopping(FakeBackend):
        def classify_batch(self, images: Any, **options: Any) -> Iterator[Any]:
            job.cancel()
            yield from super().classify_batch(images, **options)

    long = clip(varied(40) * 10, codec="mpeg4", rate=30)
    result = run(Stopping(), long, rate=30)
    assert 8 <= len(result.frames) < 400
    assert result.is_stopped
    assert result.playable_file is not None
    problem = status.describe_problem(result)
    assert problem is not None
    assert problem.message.startswith("Stopped. The results cover the first")


def test_invalid_clip_has_a_problem(run: Run) -> None:
    result = run(FakeBackend(), b"no video")
    assert (list(result.frames), result.info, result.playable_file) == ([], None, None)
    problem = status.describe_problem(result)
    assert problem is not None
    assert problem.message.startswith("This file is not a supported video")
    assert "MP4, MOV, WebM" in problem.advice


def test_long_clip_states_the_covered_seconds(run: Run) -> None:
    result = run(FakeBackend(), clip(varied(65) * 2, rate=1), rate=1)
    problem = status.describe_problem(result)
    assert problem is not None
    assert "the first 120.0 seconds" in problem.message
    assert "Split it into parts of 120 seconds" in problem.advice


def test_too_many_frames_suggest_a_lower_rate(run: Run) -> None:
    result = run(FakeBackend(), clip(varied(100) * 13, rate=30), rate=30)
    assert len(result.frames) == 1200
    problem = status.describe_problem(result)
    assert problem is not None
    assert "choose fewer frames per second" in problem.advice


def test_unexpected_error_removes_the_clip(job: Job) -> None:
    class Broken(FakeBackend):
        def classify_batch(self, images: Any, **_: Any) -> Iterator[Any]:
            raise RuntimeError

    source = ClipSource.create("clip.mp4", CLIP)
    with pytest.raises(RuntimeError):
        classify_clip(job, cast(Client, Broken()), PredictionRequest(MODEL), source, 2)
    assert not source.clip.parent.exists()


def varied(number: int) -> list[Any]:
    """Return images that differ; equal ones are sent once."""
    return [noise(64, 64, seed=n) for n in range(number)]


def test_job_note_shows_the_last_prediction(run: Run, job: Job) -> None:
    run(FakeBackend(), clip(varied(8)), rate=10)
    assert job.note == "At 0.7 s: 7 (98%)"
