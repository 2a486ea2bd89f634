"""Tests of a model served by a backend that is busy, failing or unreachable."""

import threading
from collections.abc import Callable
from urllib.parse import parse_qs, urlsplit

import numpy as np
import pytest

from client import Client
from evaluation.errors import PredictorError
from evaluation.predictors import served
from evaluation.predictors.served import ServedPredictor
from evaluation.types import Failure, ModelOutput
from tests.conftest import free_port
from tests.evaluation.predictors.fake_backend import (
    MODEL,
    FakeResponse,
    classification_json,
    fake_backend,
    ndjson_response,
    problem_response,
)
from tests.images import encoded, seven

Respond = Callable[[list[bytes]], FakeResponse]


class RecordingStop(threading.Event):
    """Records the delays without waiting."""

    def __init__(self) -> None:
        super().__init__()
        self.delays: list[float | None] = []

    def wait(self, timeout: float | None = None) -> bool:
        self.delays.append(timeout)
        return self.is_set()


@pytest.fixture
def stop() -> RecordingStop:
    return RecordingStop()


def succeed(images: list[bytes]) -> FakeResponse:
    return ndjson_response(*(classification_json() for _ in images))


def classify(
    respond: Respond, *images: bytes, stop: RecordingStop | None = None
) -> list[ModelOutput | Failure]:
    with fake_backend(respond) as url, ServedPredictor(url, stop=stop) as model:
        return list(model(iter(images)))


def in_sequence(*responses: Respond) -> Respond:
    """Respond to each request with the next function, and to all others with the last."""
    remaining = list(responses)
    return lambda images: (remaining.pop(0) if len(remaining) > 1 else remaining[0])(images)


def test_real_backend_classifies_images(backend_url: str) -> None:
    with ServedPredictor(backend_url, "mnist-cnn") as model:
        results = list(model(iter([encoded(seven()), b"not an image"] * 40)))
    assert model.labels == tuple("0123456789")
    assert len(results) == 80
    first, second = results[-2:]
    assert isinstance(first, ModelOutput)
    assert int(first.probabilities.argmax()) == 7
    assert isinstance(second, Failure)


def test_output_has_the_fields_of_the_response() -> None:
    response = classification_json(
        prediction_set=["cat", "dog"], coverage=0.95, in_distribution=False, ood_score=1.5
    )
    (output,) = classify(lambda _: ndjson_response(response), b"x")
    assert isinstance(output, ModelOutput)
    assert output.probabilities == pytest.approx(np.array([0.7, 0.2, 0.1]))
    assert (output.prediction_set, output.coverage) == (("cat", "dog"), 0.95)
    assert (output.in_distribution, output.ood_score) == (False, 1.5)
    assert output.seconds == pytest.approx(0.003)


def test_request_has_model_and_coverage_and_is_not_stored() -> None:
    paths: list[str] = []
    with fake_backend(succeed, paths=paths) as url, ServedPredictor(url, coverage=0.99) as model:
        list(model(iter([b"x"])))
    (path,) = paths
    assert parse_qs(urlsplit(path).query) == {
        "model": ["pets"],
        "coverage": ["0.99"],
        "top_k": ["1"],
        "store": ["false"],  # ten thousand images would flood the history
    }


def test_requests_are_limited_in_images_and_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []

    def respond(images: list[bytes]) -> FakeResponse:
        sizes.append(len(images))
        return succeed(images)

    monkeypatch.setattr(served, "MAX_REQUEST_BYTES", 100)
    images = [b"x"] * 70 + [b"x" * 60] * 3 + [b"x" * 500]
    assert len(classify(respond, *images)) == len(images)
    assert sorted(sizes) == sorted([32, 32, 7, 1, 1, 1])


def test_busy_backend_is_retried_after_its_retry_after(stop: RecordingStop) -> None:
    busy = problem_response(429, "Too many.", Retry_After="7")
    results = classify(in_sequence(lambda _: busy, lambda _: busy, succeed), b"a", b"b", stop=stop)
    assert all(isinstance(result, ModelOutput) for result in results)
    assert stop.delays == [7, 7]


def test_retry_after_is_limited_to_60_s(stop: RecordingStop) -> None:
    busy = problem_response(503, "Draining.", Retry_After="9000")
    results = classify(in_sequence(lambda _: busy, succeed), b"a", stop=stop)
    assert isinstance(results[0], ModelOutput)
    assert stop.delays == [60]


def test_only_images_past_their_deadline_are_retried(stop: RecordingStop) -> None:
    requests: list[list[bytes]] = []

    def respond(images: list[bytes]) -> FakeResponse:
        requests.append(images)
        late = {"status": 504, "detail": "Too late."}
        return ndjson_response(
            *(
                late if image == b"b" and len(requests) < 3 else classification_json()
                for image in images
            )
        )

    results = classify(respond, b"a", b"b", b"c", stop=stop)
    assert all(isinstance(result, ModelOutput) for result in results)
    assert requests == [[b"a", b"b", b"c"], [b"b"], [b"b"]]
    assert stop.delays == [1, 2]


def test_image_that_always_fails_is_a_failure(stop: RecordingStop) -> None:
    def respond(images: list[bytes]) -> FakeResponse:
        errors = {
            b"b": {"status": 504, "detail": "Too late."},
            b"c": {"status": 415, "detail": "No."},
        }
        return ndjson_response(*(errors.get(image, classification_json()) for image in images))

    first, second, third = classify(respond, b"a", b"b", b"c", stop=stop)
    assert isinstance(first, ModelOutput)
    assert (second, third) == (Failure("Too late."), Failure("No."))
    assert stop.delays == [1, 2, 4, 8]


def test_too_large_request_is_split_in_halves() -> None:
    sizes: list[int] = []

    def respond(images: list[bytes]) -> FakeResponse:
        sizes.append(len(images))
        if len(images) > 1 or images == [b"huge"]:
            return problem_response(413, "Too large.")
        return succeed(images)

    results = classify(respond, b"a", b"huge", b"c")
    assert [isinstance(result, ModelOutput) for result in results] == [True, False, True]
    assert results[1] == Failure("Too large.")
    assert sizes == [3, 1, 2, 1, 1]


def test_truncated_responses_raise_predictor_error_after_earlier_results(
    stop: RecordingStop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(served, "CONCURRENT_REQUESTS", 1)

    def truncated(images: list[bytes]) -> FakeResponse:
        return ndjson_response(*(classification_json() for _ in images[1:]))

    with (
        fake_backend(in_sequence(succeed, truncated)) as url,
        ServedPredictor(url, stop=stop) as model,
    ):
        results = model(iter([b"x"] * 40))
        assert len([next(results) for _ in range(32)]) == 32
        with pytest.raises(PredictorError, match="responding: 8 images, but only 7 results"):
            next(results)


@pytest.mark.parametrize("status", [401, 404, 422])
def test_permanent_error_raises_predictor_error_with_the_detail(status: int) -> None:
    with pytest.raises(PredictorError, match=r"rejected the request: Not so\."):
        classify(lambda _: problem_response(status, "Not so."), b"x")


def test_wrong_number_of_probabilities_raises_predictor_error() -> None:
    response = ndjson_response(classification_json(probabilities=[0.5, 0.5]))
    with pytest.raises(PredictorError, match="did not return one probability per label"):
        classify(lambda _: response, b"x")


def test_backend_unavailable_for_all_attempts_raises_predictor_error(stop: RecordingStop) -> None:
    paths: list[str] = []
    with (
        fake_backend(lambda _: problem_response(503, "Draining."), paths=paths) as url,
        ServedPredictor(url, stop=stop, max_attempts=7) as model,
        pytest.raises(PredictorError, match=r"stopped responding: Draining\."),
    ):
        list(model(iter([b"x"])))
    assert len(paths) == 7
    assert stop.delays == [1, 2, 4, 8, 8, 8]


def test_reason_for_waiting_is_reported(stop: RecordingStop) -> None:
    reasons: list[str] = []
    respond = in_sequence(lambda _: problem_response(503, "Draining."), succeed)
    with (
        fake_backend(respond) as url,
        ServedPredictor(url, stop=stop, on_wait=reasons.append) as model,
    ):
        assert len(list(model(iter([b"x"])))) == 1
    assert reasons == ["Draining."]


def test_client_that_was_passed_in_stays_open() -> None:
    with fake_backend(succeed) as url, Client(url) as client:
        client.close = lambda: pytest.fail("closed")  # type: ignore[method-assign]
        with ServedPredictor(client) as model:
            assert len(list(model(iter([b"x"])))) == 1
        del client.close


def test_stop_ends_the_waiting() -> None:
    stop = threading.Event()  # a real event, which would wait for 50 s

    def busy(_: list[bytes]) -> FakeResponse:
        stop.set()
        return problem_response(429, "Too many.", Retry_After="50")

    with (
        fake_backend(busy) as url,
        ServedPredictor(url, stop=stop) as model,
        pytest.raises(PredictorError, match="stopped by the user"),
    ):
        list(model(iter([b"x"])))


def test_model_that_is_not_served_or_not_ready_raises_predictor_error() -> None:
    with fake_backend(succeed) as url:
        with pytest.raises(PredictorError, match="does not serve the model 'cars', only pets"):
            ServedPredictor(url, "cars")
        with pytest.raises(PredictorError, match="name one with --model: pets"):
            ServedPredictor(url, "auto")
        assert ServedPredictor(url, "pets").version == "3"
    with (
        fake_backend(succeed, MODEL | {"state": "loading"}) as url,
        pytest.raises(PredictorError, match=r"model pets is not ready \(loading\)"),
    ):
        ServedPredictor(url)


def test_unreachable_or_invalid_url_raises_predictor_error() -> None:
    with pytest.raises(PredictorError, match="not reachable"):
        ServedPredictor(f"http://127.0.0.1:{free_port()}")
    with pytest.raises(PredictorError, match="must start with http"):
        ServedPredictor("ftp://host")
