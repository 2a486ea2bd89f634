"""The client against a real backend, and against servers that misbehave."""

import json
from collections.abc import Iterator
from io import BytesIO
from typing import Any

import pytest
from PIL import Image

from client import (
    BackendError,
    BackendUnreachable,
    Classification,
    Client,
    InvalidAnswer,
    ItemError,
    Models,
)
from tests.client.server import Answer, serving
from tests.conftest import free_port
from tests.pictures import encoded, noise, seven

SEVEN = encoded(seven())
ANSWER: dict[str, Any] = {
    "id": "1",
    "filename": "x.png",
    "model": {"name": "m", "version": "1"},
    "prediction": "7",
    "confidence": 0.9,
    "top": [{"label": "7", "index": 7, "probability": 0.9}],
    "timings_ms": {"decode": 1, "queue": 0, "inference": 2},
    "a field of the future": {"deep": [1]},
}


@pytest.fixture
def client(backend_url: str) -> Iterator[Client]:
    with Client(backend_url) as client:
        yield client


def ask(answer: Answer, **options: Any) -> Classification:
    with serving(answer) as (url, _), Client(url, **options) as client:
        return client.classify(SEVEN, filename="x.png")


def test_what_the_model_was_given_comes_where_it_is_asked_for(client: Client) -> None:
    model_input = client.classify(SEVEN, filename="seven.png", model_input=True).model_input
    assert model_input is not None
    assert Image.open(BytesIO(model_input)).size == (28, 28)
    assert client.classify(SEVEN, filename="seven.png").model_input is None


def test_a_model_comes_with_its_card(client: Client) -> None:
    found = client.model("mnist-cnn")
    assert found.info == client.models().get("mnist-cnn")
    assert found.card is not None
    assert found.card.startswith("# mnist-cnn")


def test_a_model_that_is_not_served_is_refused(client: Client) -> None:
    with pytest.raises(BackendError) as caught:
        client.model("a/b?c")
    assert caught.value.status == 404


@pytest.mark.parametrize("model_input", ["data:image/png;base64,?", 5])
def test_what_is_no_picture_is_an_invalid_answer(model_input: object) -> None:
    with (
        serving(Answer(json.dumps(ANSWER | {"model_input": model_input}).encode())) as (url, _),
        pytest.raises(InvalidAnswer, match="model_input"),
    ):
        Client(url).classify(SEVEN, filename="seven.png", model_input=True)


def test_a_seven_is_read(client: Client) -> None:
    answer = client.classify(SEVEN, filename="seven.png", top_k=3)
    assert answer.prediction == "7"
    assert answer.top[0].label == "7"
    assert answer.top[0].probability == answer.confidence
    assert len(answer.top) == 3
    assert answer.probabilities is not None
    assert sum(answer.probabilities) == pytest.approx(1, abs=1e-3)
    assert answer.timings.inference > 0


def test_the_models_and_the_service_introduce_themselves(client: Client) -> None:
    models = client.models()
    model = models.get(models.default)
    assert model is not None
    assert model.state == "ready"
    assert model.labels == tuple("0123456789")
    assert model.input.kind == "digit"
    assert client.ready()
    assert client.info().name


@pytest.mark.parametrize(
    "name", ["ü 日本.png", 'a"b\\c.png', "two\r\nlines\x00.png", "../../etc/passwd", "\udcff", ""]
)
def test_any_file_name_is_carried(client: Client, name: str) -> None:
    assert client.classify(SEVEN, filename=name).filename == name
    assert [item.filename for item in client.classify_batch([(name, SEVEN)])] == [name]


def test_a_batch_answers_in_order_and_a_bad_picture_fails_alone(client: Client) -> None:
    images = [("a.png", SEVEN), ("b.png", b"not a picture"), ("c.png", SEVEN)]
    first, second, third = client.classify_batch(images)
    assert isinstance(first, Classification)
    assert isinstance(third, Classification)
    assert (first.prediction, third.prediction) == ("7", "7")
    assert isinstance(second, ItemError)
    assert second.filename == "b.png"
    assert second.error.status == 415
    assert second.error.code == "unsupported_image"
    assert second.error.detail


def test_an_empty_batch_asks_nothing() -> None:
    with Client("http://127.0.0.1:1") as client:
        assert list(client.classify_batch([])) == []


def test_an_unknown_model_is_refused_by_name(client: Client) -> None:
    with pytest.raises(BackendError) as caught:
        client.classify(SEVEN, filename="x.png", model="no such model")
    assert (caught.value.status, caught.value.code) == (404, "unknown_model")
    assert caught.value.request_id


def test_fields_of_the_future_are_let_pass_and_missing_ones_are_none() -> None:
    answer = ask(Answer(json.dumps(ANSWER).encode()))
    assert answer.prediction == "7"
    assert answer.probabilities is None
    assert answer.in_distribution is None
    assert answer.ood_score is None


def test_nothing_listening_is_unreachable() -> None:
    url = f"http://127.0.0.1:{free_port()}"
    with Client(url) as client, pytest.raises(BackendUnreachable) as caught:
        client.models()
    assert caught.value.url == url
    assert not caught.value.timed_out


def test_silence_is_not_waited_out() -> None:
    with pytest.raises(BackendUnreachable) as caught:
        ask(Answer(silence=1), read_timeout=0.1)
    assert caught.value.timed_out


@pytest.mark.parametrize(
    "body",
    [
        b"<html>hello</html>",
        b"",
        b"[]",
        b"[" * 100_000,
        b"\xff\xfe",
        json.dumps(ANSWER | {"confidence": "high"}).encode(),
        json.dumps(ANSWER | {"confidence": float("nan")}).encode(),
        json.dumps(ANSWER | {"top": {}}).encode(),
        json.dumps(ANSWER | {"ood_score": "large"}).encode(),
        json.dumps({"status": "ok"}).encode(),
    ],
)
def test_an_answer_that_is_none_is_invalid(body: bytes) -> None:
    with pytest.raises(InvalidAnswer):
        ask(Answer(body))


def test_busy_says_when_to_come_back() -> None:
    problem = {"status": 429, "code": "queue_full", "detail": "Too much.", "request_id": "r1"}
    with pytest.raises(BackendError) as caught:
        ask(Answer(json.dumps(problem).encode(), 429, {"Retry-After": "7"}))
    error = caught.value
    assert (error.status, error.code, error.retry_after) == (429, "queue_full", 7)
    assert error.request_id == "r1"


def test_a_refusal_by_something_in_between_is_an_error_too() -> None:
    with pytest.raises(BackendError) as caught:
        ask(Answer(b"<html>Bad gateway</html>", 502, {"X-Request-ID": "r2"}))
    assert (caught.value.status, caught.value.code) == (502, "")
    assert caught.value.request_id == "r2"


def test_a_redirect_is_told_and_not_followed() -> None:
    with pytest.raises(BackendError) as caught:
        ask(Answer(status=302, headers={"Location": "https://elsewhere.example/"}))
    assert "https://elsewhere.example/" in caught.value.detail


def test_a_batch_that_breaks_off_keeps_what_arrived() -> None:
    line = json.dumps(ANSWER).encode() + b"\n"
    with serving(Answer(line)) as (url, _), Client(url) as client:
        results = client.classify_batch([("a", SEVEN), ("b", SEVEN)])
        assert next(results).filename == "a"
        with pytest.raises(InvalidAnswer):
            next(results)


def test_not_ready_is_no_error() -> None:
    with serving(Answer(b'{"status": 503}', 503)) as (url, _), Client(url) as client:
        assert client.ready() is False


def test_a_proxy_is_not_asked_for_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    assert ask(Answer(json.dumps(ANSWER).encode())).prediction == "7"


def test_the_model_top_k_and_the_coverage_are_sent() -> None:
    with serving(Answer(json.dumps(ANSWER).encode())) as (url, asked), Client(url) as client:
        client.classify(SEVEN, filename="x.png", model="a model", top_k=3, coverage=0.99)
        list(client.classify_batch([("x.png", SEVEN)], coverage=0.9))
        client.classify(SEVEN, filename="x.png")
    assert asked[0].path == "/classify?model=a+model&top_k=3&coverage=0.99"
    assert asked[1].path == "/classify/batch?coverage=0.9"
    assert asked[2].path == "/classify"
    assert SEVEN in asked[0].body


def test_a_calibrated_answer_is_read_with_its_set_and_its_score(calibrated_url: str) -> None:
    with Client(calibrated_url) as client:
        answer = client.classify(SEVEN, filename="x.png", coverage=0.99)
        assert (len(answer.prediction_set or ()), answer.coverage) == (10, 0.99)
        assert answer.in_distribution is True
        assert answer.ood_score is not None
        (item,) = client.classify_batch([("x.png", SEVEN)])
        assert isinstance(item, Classification)
        assert (item.prediction_set, item.coverage) == (("7",), 0.95)
        strange = client.classify(encoded(noise()), filename="x.png")
        assert strange.in_distribution is False
        assert strange.ood_score is not None
        assert strange.ood_score > answer.ood_score
        calibrated, plain = client.models().models
    assert plain.calibration is None
    assert calibrated.calibration is not None
    assert calibrated.calibration.temperature == 1
    assert calibrated.calibration.max_ood_score == -3.5
    assert calibrated.calibration.mean_set_size == {0.9: 1.0, 0.95: 1.1, 0.99: 10}


CALIBRATION = {"temperature": 1.5, "pictures": 9, "source": "", "mean_set_size": {"0.9": 1}}
MODEL: dict[str, Any] = {"name": "m", "state": "ready", "labels": ["0", "1"]}


def models(**fields: Any) -> Models:
    body = json.dumps({"default": "m", "models": [MODEL | fields]}).encode()
    with serving(Answer(body)) as (url, _), Client(url) as client:
        return client.models()


def test_a_backend_that_knows_of_no_calibration_is_understood() -> None:
    assert models().models[0].calibration is None
    assert models(calibration=None).models[0].calibration is None
    future = CALIBRATION | {"a field of the future": 1}
    (model,) = models(calibration=future).models
    assert model.calibration is not None
    assert model.calibration.max_ood_score is None


@pytest.mark.parametrize(
    "fields",
    [{"temperature": None}, {"pictures": "many"}, {"mean_set_size": {"high": 1}}],
)
def test_a_calibration_that_is_none_is_invalid(fields: dict[str, Any]) -> None:
    with pytest.raises(InvalidAnswer):
        models(calibration=CALIBRATION | fields)
