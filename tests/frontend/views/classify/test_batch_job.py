"""The batch job: retries, errors and progress."""

import threading

import pytest

from client import BackendError, BackendUnreachable, ClientError
from frontend.datasets.selections import ImageSelection
from frontend.service.predictions import (
    BATCH_IMAGES,
    ImageFile,
    Outcome,
    PredictionCache,
    PredictionRequest,
)
from frontend.state.jobs import Job, Jobs
from frontend.views.classify import batch_job
from tests.frontend.fake_client import (
    BAD,
    GOOD,
    FakeClient,
    classify_or_reject,
    fail_first,
    image_files,
)
from tests.frontend.samples import MODEL

REQUEST = PredictionRequest(MODEL)
TOTAL = 3 * BATCH_IMAGES
UNREACHABLE = BackendUnreachable("http://fake")
BUSY = BackendError(status=429, retry_after=0)
FAILED = BackendError(status=500, code="inference_failed")


@pytest.fixture
def no_delay(monkeypatch: pytest.MonkeyPatch) -> None:
    """Retry at once."""
    monkeypatch.setattr(batch_job, "MAX_DELAY", 0.0)


def select(*contents: str) -> ImageSelection:
    return ImageSelection(image_files(*(contents or map(str, range(TOTAL)))))


def run_job(
    client: FakeClient, selection: ImageSelection, max_wait: float = 60
) -> tuple[Job, ClientError | None]:
    jobs = Jobs()
    job = jobs.start(lambda job: batch_job.run(job, client, REQUEST, selection, max_wait=max_wait))
    timer = threading.Event()
    while not job.is_finished:
        timer.wait(0.005)
    assert job.state == "done"
    return job, job.result


def test_all_images_are_classified_and_a_bad_one_fails_alone() -> None:
    selection = select("bad", *map(str, range(TOTAL)))
    job, error = run_job(FakeClient(classify_or_reject), selection)
    assert error is None
    assert selection.outcomes(REQUEST) == [BAD, *[GOOD] * TOTAL]
    assert (job.done, job.total) == (TOTAL + 1, TOTAL + 1)


@pytest.mark.usefixtures("no_delay")
@pytest.mark.parametrize(
    "error", [UNREACHABLE, BUSY, BackendError(status=503), BackendError(status=504)]
)
def test_temporary_errors_are_retried(error: ClientError) -> None:
    selection, client = select(), FakeClient(fail_first(3, error))
    assert run_job(client, selection)[1] is None
    assert selection.outcomes(REQUEST) == [GOOD] * TOTAL


@pytest.mark.usefixtures("no_delay")
def test_known_outcomes_are_not_requested_again() -> None:
    selection, client = select(), FakeClient(classify_or_reject)
    for image in selection.images[: TOTAL - 1]:
        selection.cache.put(image, REQUEST, GOOD)
    run_job(client, selection)
    assert client.batches == [1]


@pytest.mark.usefixtures("no_delay")
def test_retries_end_with_the_last_error() -> None:
    selection = select()
    _, error = run_job(FakeClient(fail_first(10**6, UNREACHABLE)), selection, max_wait=0.05)
    assert error is UNREACHABLE
    assert selection.pending(REQUEST) == list(selection.images)


@pytest.mark.parametrize("status", [401, 403, 404])
def test_permanent_errors_are_not_retried(status: int) -> None:
    rejection = BackendError(status=status, code="api_key_missing")
    assert run_job(FakeClient(fail_first(10**6, rejection)), select())[1] is rejection


def test_image_on_which_the_model_fails_is_not_retried() -> None:
    selection = select("crash", *map(str, range(TOTAL)))
    client = FakeClient(lambda content: FAILED if content == b"crash" else GOOD)
    assert run_job(client, selection)[1] is None
    assert selection.outcomes(REQUEST) == [FAILED, *[GOOD] * TOTAL]


def test_effort_is_linear_in_the_number_of_images() -> None:
    class CountingCache(PredictionCache):
        accesses = 0

        def get(self, image: ImageFile, request: PredictionRequest) -> Outcome | None:
            self.accesses += 1
            return super().get(image, request)

    cache = CountingCache()
    total = 50 * BATCH_IMAGES
    selection = ImageSelection(image_files(*map(str, range(total))), cache)
    assert run_job(FakeClient(classify_or_reject), selection)[1] is None
    assert cache.accesses <= 5 * total


def test_wait_is_reported_and_ends_when_the_job_is_canceled() -> None:
    selection = select()
    client = FakeClient(fail_first(10**6, BackendError(status=429, retry_after=500)))
    jobs, timer = Jobs(), threading.Event()
    job = jobs.start(lambda job: batch_job.run(job, client, REQUEST, selection))
    while not selection.retries:
        timer.wait(0.005)
    text = batch_job.progress_text(job, REQUEST, selection)
    assert text.startswith(f"0 of {TOTAL} images classified. The backend is busy.")
    assert text.endswith("Retrying in 500 seconds.")
    job.cancel()
    while not job.is_finished:
        timer.wait(0.005)
    assert job.result is None
