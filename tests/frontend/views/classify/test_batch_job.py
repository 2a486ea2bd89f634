"""Reading many pictures, with patience."""

import threading

import pytest

from client import BackendError, BackendUnreachable, ClientError
from frontend.datasets.selections import ImageSelection
from frontend.service.predictions import BATCH_IMAGES, PredictionRequest
from frontend.state.jobs import Job, Jobs
from frontend.views.classify import batch_job
from tests.frontend.answers import MODEL
from tests.frontend.asked import BAD, GOOD, FakeClient, failing, judge, pictures

QUESTION = PredictionRequest(MODEL)
MANY = 3 * BATCH_IMAGES
GONE = BackendUnreachable("http://fake")
BUSY = BackendError(status=429, retry_after=0)
CRASHED = BackendError(status=500, code="inference_failed")


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """No pauses."""
    monkeypatch.setattr(batch_job, "MAX_DELAY", 0.0)


def batch(*contents: str) -> ImageSelection:
    return ImageSelection(pictures(*contents) if contents else pictures(*map(str, range(MANY))))


def read(client: FakeClient, given: ImageSelection, patience: float = 60) -> tuple[Job, ClientError | None]:
    jobs = Jobs()
    job = jobs.start(lambda job: batch_job.read(job, client, QUESTION, given, max_wait=patience))
    ended = threading.Event()
    while not job.is_finished:
        ended.wait(0.005)
    assert job.state == "done"
    return job, job.result


def test_every_picture_is_read_and_a_bad_one_fails_alone() -> None:
    given = batch("bad", *map(str, range(MANY)))
    job, trouble = read(FakeClient(judge), given)
    assert trouble is None
    assert given.outcomes(QUESTION) == [BAD, *[GOOD] * MANY]
    assert (job.done, job.total) == (MANY + 1, MANY + 1)


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("error", [GONE, BUSY, BackendError(status=503), BackendError(status=504)])
def test_a_backend_that_comes_back_is_waited_for(error: ClientError) -> None:
    given, client = batch(), FakeClient(failing(3, error))
    assert read(client, given)[1] is None
    assert given.outcomes(QUESTION) == [GOOD] * MANY


@pytest.mark.usefixtures("impatient")
def test_what_was_answered_before_the_backend_went_away_is_not_asked_again() -> None:
    given, client = batch(), FakeClient(judge)
    for picture in given.images[: MANY - 1]:
        given.cache.put(picture, QUESTION, GOOD)
    read(client, given)
    assert client.batches == [1]


@pytest.mark.usefixtures("impatient")
def test_patience_ends_and_says_why() -> None:
    given = batch()
    _, trouble = read(FakeClient(failing(10**6, GONE)), given, patience=0.05)
    assert trouble is GONE
    assert given.pending(QUESTION) == list(given.images)


@pytest.mark.parametrize("status", [401, 403, 404])
def test_what_waiting_does_not_mend_is_told_at_once(status: int) -> None:
    refused = BackendError(status=status, code="api_key_missing")
    assert read(FakeClient(failing(10**6, refused)), batch())[1] is refused


def test_a_picture_on_which_the_model_fails_does_not_hold_up_the_others() -> None:
    given = batch("crash", *map(str, range(MANY)))
    client = FakeClient(lambda content: CRASHED if content == b"crash" else GOOD)
    assert read(client, given)[1] is None
    assert given.outcomes(QUESTION) == [CRASHED, *[GOOD] * MANY]


def test_a_wait_is_told_and_ends_at_once_when_it_is_stopped() -> None:
    given = batch()
    client = FakeClient(failing(10**6, BackendError(status=429, retry_after=500)))
    jobs, ended = Jobs(), threading.Event()
    job = jobs.start(lambda job: batch_job.read(job, client, QUESTION, given))
    while not given.retries:
        ended.wait(0.005)
    assert f"Read 0 of {MANY} pictures. The backend is busy." in batch_job.says(
        job, QUESTION, given
    )
    assert "asked again in 500 seconds" in batch_job.says(job, QUESTION, given)
    job.cancel()
    while not job.is_finished:
        ended.wait(0.005)
    assert job.result is None
