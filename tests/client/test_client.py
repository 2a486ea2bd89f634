"""The client against a real backend and against servers that send invalid responses."""

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
    InvalidResponse,
    ItemError,
    Models,
)
from tests.client.fake_server import FakeResponse, serving
from tests.conftest import free_port
from tests.images import encoded, noise, seven

SEVEN = encoded(seven())
RESPONSE: dict[str, Any] = {
    "id": "1",
    "filename": "x.png",
    "model": {"name": "m", "version": "1"},
    "prediction": "7",
    "confidence": 0.9,
    "top": [{"label": "7", "index": 7, "probability": 0.9}],
    "timings_ms": {"decode": 1, "queue": 0, "inference": 2},
    "unknown field": {"deep": [1]},
}


@pytest.fixture
def client(backend_url: str) -> Iterator[Client]:
    with Client(backend_url) as client:
        yield client


def classify(response: FakeResponse, **options: Any) -> Classification:
    with serving(response) as (url, _), Client(url, **options) as client:
        return client.classify(SEVEN, filename="x.png")


def test_model_input_is_returned_on_request(client: Client) -> None:
    model_input = client.classify(SEVEN, filename="seven.png", model_input=True).model_input
    assert model_input is not None
    assert Image.open(BytesIO(model_input)).size == (28, 28)
    assert client.classify(SEVEN, filename="seven.png").model_input is None


def test_explanation_is_returned_on_request(client: Client) -> None:
    classified = client.classify(SEVEN, filename="seven.png", explain=True)
    explanation = classified.explanation
    assert explanation is not None
    assert (explanation.method, explanation.label) == ("occlusion", classified.prediction)
    image = Image.open(BytesIO(explanation.heatmap))
    assert (image.mode, image.size) == ("L", (64, 64))
    assert client.classify(SEVEN, filename="seven.png").explanation is None


def test_explanation_that_was_not_ready_in_time_is_none() -> None:
    body = json.dumps(RESPONSE | {"explanation": None}).encode()
    assert classify(FakeResponse(body)).explanation is None


def test_model_is_returned_with_its_card(client: Client) -> None:
    model = client.model("mnist-cnn")
    assert model.info == client.models().get("mnist-cnn")
    assert model.card is not None
    assert model.card.startswith("# mnist-cnn")


def test_unknown_model_raises_404(client: Client) -> None:
    with pytest.raises(BackendError) as caught:
        client.model("a/b?c")
    assert caught.value.status == 404


@pytest.mark.parametrize("model_input", ["data:image/png;base64,?", 5])
def test_invalid_model_input_raises_invalid_response(model_input: object) -> None:
    with (
        serving(FakeResponse(json.dumps(RESPONSE | {"model_input": model_input}).encode())) as (
            url,
            _,
        ),
        pytest.raises(InvalidResponse, match="model_input"),
    ):
        Client(url).classify(SEVEN, filename="seven.png", model_input=True)


def test_classification_is_parsed(client: Client) -> None:
    result = client.classify(SEVEN, filename="seven.png", top_k=3)
    assert result.prediction == "7"
    assert result.top[0].label == "7"
    assert result.top[0].probability == result.confidence
    assert len(result.top) == 3
    assert result.probabilities is not None
    assert sum(result.probabilities) == pytest.approx(1, abs=1e-3)
    assert result.timings.inference > 0


def test_models_and_service_info_are_parsed(client: Client) -> None:
    models = client.models()
    assert (models.default, models.auto) == ("auto", ("mnist-cnn", "photos"))
    model = models.get("mnist-cnn")
    assert model is not None
    assert model.state == "ready"
    assert model.labels == tuple("0123456789")
    assert model.input.kind == "digit"
    assert client.ready()
    assert client.info().name


@pytest.mark.parametrize(
    "name", ["ü 日本.png", 'a"b\\c.png', "two\r\nlines\x00.png", "../../etc/passwd", "\udcff", ""]
)
def test_any_file_name_is_accepted(client: Client, name: str) -> None:
    assert client.classify(SEVEN, filename=name).filename == name
    assert [item.filename for item in client.classify_batch([(name, SEVEN)])] == [name]


def test_batch_keeps_order_and_invalid_image_fails_alone(client: Client) -> None:
    images = [("a.png", SEVEN), ("b.png", b"not an image"), ("c.png", SEVEN)]
    first, second, third = client.classify_batch(images)
    assert isinstance(first, Classification)
    assert isinstance(third, Classification)
    assert (first.prediction, third.prediction) == ("7", "7")
    assert isinstance(second, ItemError)
    assert second.filename == "b.png"
    assert second.error.status == 415
    assert second.error.code == "unsupported_image"
    assert second.error.detail


def test_empty_batch_sends_no_request() -> None:
    with Client("http://127.0.0.1:1") as client:
        assert list(client.classify_batch([])) == []


def test_classify_with_unknown_model_raises_404(client: Client) -> None:
    with pytest.raises(BackendError) as caught:
        client.classify(SEVEN, filename="x.png", model="no such model")
    assert (caught.value.status, caught.value.code) == (404, "unknown_model")
    assert caught.value.request_id


def test_unknown_fields_are_ignored_and_missing_ones_are_none() -> None:
    result = classify(FakeResponse(json.dumps(RESPONSE).encode()))
    assert result.prediction == "7"
    assert result.probabilities is None
    assert result.in_distribution is None
    assert result.ood_score is None


def test_closed_port_raises_backend_unreachable() -> None:
    url = f"http://127.0.0.1:{free_port()}"
    with Client(url) as client, pytest.raises(BackendUnreachable) as caught:
        client.models()
    assert caught.value.url == url
    assert not caught.value.timed_out


def test_read_timeout_raises_backend_unreachable() -> None:
    with pytest.raises(BackendUnreachable) as caught:
        classify(FakeResponse(delay=1), read_timeout=0.1)
    assert caught.value.timed_out


@pytest.mark.parametrize(
    "body",
    [
        b"<html>hello</html>",
        b"",
        b"[]",
        b"[" * 100_000,
        b"\xff\xfe",
        json.dumps(RESPONSE | {"confidence": "high"}).encode(),
        json.dumps(RESPONSE | {"confidence": float("nan")}).encode(),
        json.dumps(RESPONSE | {"top": {}}).encode(),
        json.dumps(RESPONSE | {"ood_score": "large"}).encode(),
        json.dumps({"status": "ok"}).encode(),
    ],
)
def test_malformed_response_raises_invalid_response(body: bytes) -> None:
    with pytest.raises(InvalidResponse):
        classify(FakeResponse(body))


def test_retry_after_of_429_is_parsed() -> None:
    problem = {
        "status": 429,
        "code": "queue_full",
        "detail": "Full.",
        "request_id": "r1",
    }
    with pytest.raises(BackendError) as caught:
        classify(FakeResponse(json.dumps(problem).encode(), 429, {"Retry-After": "7"}))
    error = caught.value
    assert (error.status, error.code, error.retry_after) == (429, "queue_full", 7)
    assert error.request_id == "r1"


def test_error_page_of_a_proxy_raises_backend_error() -> None:
    with pytest.raises(BackendError) as caught:
        classify(FakeResponse(b"<html>Bad gateway</html>", 502, {"X-Request-ID": "r2"}))
    assert (caught.value.status, caught.value.code) == (502, "")
    assert caught.value.request_id == "r2"


def test_redirect_is_reported_and_not_followed() -> None:
    with pytest.raises(BackendError) as caught:
        classify(FakeResponse(status=302, headers={"Location": "https://elsewhere.example/"}))
    assert "https://elsewhere.example/" in caught.value.detail


def test_truncated_batch_yields_the_results_that_arrived() -> None:
    line = json.dumps(RESPONSE).encode() + b"\n"
    with serving(FakeResponse(line)) as (url, _), Client(url) as client:
        results = client.classify_batch([("a", SEVEN), ("b", SEVEN)])
        assert next(results).filename == "a"
        with pytest.raises(InvalidResponse):
            next(results)


def test_ready_returns_false_on_503() -> None:
    with serving(FakeResponse(b'{"status": 503}', 503)) as (url, _), Client(url) as client:
        assert client.ready() is False


def test_local_requests_bypass_the_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    assert classify(FakeResponse(json.dumps(RESPONSE).encode())).prediction == "7"


def test_model_top_k_and_coverage_are_sent() -> None:
    with (
        serving(FakeResponse(json.dumps(RESPONSE).encode())) as (url, received),
        Client(url) as client,
    ):
        client.classify(SEVEN, filename="x.png", model="a model", top_k=3, coverage=0.99)
        list(client.classify_batch([("x.png", SEVEN)], coverage=0.9))
        client.classify(SEVEN, filename="x.png")
    assert received[0].path == "/classify?model=a+model&top_k=3&coverage=0.99"
    assert received[1].path == "/classify/batch?coverage=0.9"
    assert received[2].path == "/classify"
    assert SEVEN in received[0].body


def test_prediction_set_and_ood_score_are_parsed(calibrated_url: str) -> None:
    with Client(calibrated_url) as client:
        result = client.classify(SEVEN, filename="x.png", coverage=0.99)
        assert (len(result.prediction_set or ()), result.coverage) == (10, 0.99)
        assert result.in_distribution is True
        assert result.ood_score is not None
        (item,) = client.classify_batch([("x.png", SEVEN)])
        assert isinstance(item, Classification)
        assert (item.prediction_set, item.coverage) == (("7",), 0.95)
        unfamiliar = client.classify(encoded(noise()), filename="x.png")
        assert unfamiliar.in_distribution is False
        assert unfamiliar.ood_score is not None
        assert unfamiliar.ood_score > result.ood_score
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
    with serving(FakeResponse(body)) as (url, _), Client(url) as client:
        return client.models()


def test_calibration_is_optional() -> None:
    assert models().models[0].calibration is None
    assert models(calibration=None).models[0].calibration is None
    extended = CALIBRATION | {"unknown field": 1}
    (model,) = models(calibration=extended).models
    assert model.calibration is not None
    assert model.calibration.max_ood_score is None


@pytest.mark.parametrize(
    "fields",
    [{"temperature": None}, {"pictures": "many"}, {"mean_set_size": {"high": 1}}],
)
def test_invalid_calibration_raises_invalid_response(fields: dict[str, Any]) -> None:
    with pytest.raises(InvalidResponse):
        models(calibration=CALIBRATION | fields)


def test_label_ids_are_parsed() -> None:
    assert models().models[0].label_ids is None
    assert models(label_ids=["n0", "n1"]).models[0].label_ids == ("n0", "n1")
    with pytest.raises(InvalidResponse):
        models(label_ids="n0")
