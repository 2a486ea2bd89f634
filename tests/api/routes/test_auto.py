"""The model name `auto` in the API."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest
from starlette.testclient import TestClient

from backend.app import create_app
from backend.inference.models.artifact import Artifact
from backend.inference.runtimes import Runtime
from tests.api.problems import problem
from tests.fake_models import CALIBRATION, GRAY, LOCALHOST, gray, serve, settings_for, write_model
from tests.inference.test_auto import KnownDigits

KNOWN = {"low": range(5), "high": range(5, 8), "other": range(10)}


def load(model: Artifact, *_: object, **__: object) -> Runtime:
    return KnownDigits(KNOWN[model.manifest.name])


@pytest.fixture
def client(tmp_path: Path) -> Iterator[TestClient]:
    """A client of `low`, which knows 0 to 4, `high`, which knows 5 to 7, and `other`."""
    for name in KNOWN:
        write_model(tmp_path / "models", name, preprocess=GRAY, calibration=CALIBRATION)
    app = create_app(settings_for(tmp_path / "models", auto_models="low,high"), load)
    with TestClient(app, base_url=LOCALHOST) as client:
        yield client


def classify(client: TestClient, digit: int, query: str = "") -> Any:
    return client.post(f"/classify{query}", files={"file": gray(digit)}).json()


@pytest.mark.parametrize("query", ["", "?model=auto"])
def test_response_names_the_model_that_answered(client: TestClient, query: str) -> None:
    answers = [classify(client, digit, query) for digit in (3, 6, 9)]
    assert [answer["model"]["name"] for answer in answers] == ["low", "high", "high"]
    assert [answer["prediction"] for answer in answers] == ["3", "6", "0"]
    assert [answer["in_distribution"] for answer in answers] == [True, True, False]


def test_named_model_is_asked_alone(client: TestClient) -> None:
    assert classify(client, 6, "?model=low")["model"]["name"] == "low"
    assert classify(client, 6, "?model=other")["model"]["name"] == "other"


def test_each_image_of_a_batch_gets_its_model(client: TestClient) -> None:
    files = [("file", (f"{digit}.png", gray(digit))) for digit in (6, 1, 7)]
    lines = client.post("/classify/batch", files=files).text.splitlines()
    answers = [orjson.loads(line) for line in lines]
    assert [answer["model"]["name"] for answer in answers] == ["high", "low", "high"]


def test_model_input_is_that_of_the_model_that_answered(client: TestClient) -> None:
    assert classify(client, 6, "?model_input=true")["model_input"].startswith("data:image/png")


def test_models_describe_auto(client: TestClient) -> None:
    assert client.get("/ready").status_code in (200, 503)
    classify(client, 3)
    models = client.get("/models").json()
    assert (models["default"], models["auto"]) == ("auto", ["low", "high"])
    assert {model["name"] for model in models["models"]} == set(KNOWN)
    detail = client.get("/models/auto").json()
    assert (detail["name"], detail["title"], detail["state"]) == ("auto", "Automatic", "ready")
    assert "low, high" in detail["description"]


def test_error_of_an_unknown_model_names_auto(client: TestClient) -> None:
    assert classify(client, 3, "?model=Auto")["detail"].endswith(": high, low, other, auto.")


def test_metrics_count_the_model_that_answered(client: TestClient) -> None:
    classify(client, 6)
    text = client.get("/metrics").text
    assert 'model="high"' in next(
        line for line in text.splitlines() if line.startswith("prism_requests_total{")
    )


def test_single_model_answers_auto(tmp_path: Path) -> None:
    write_model(tmp_path / "models", "low", preprocess=GRAY, calibration=CALIBRATION)
    with serve(tmp_path / "models") as client:
        models = client.get("/models").json()
        assert (models["default"], models["auto"]) == ("low", None)
        assert classify(client, 3, "?model=auto")["model"]["name"] == "low"
        problem(client.get("/models/auto"), 404, "unknown_model")


def test_failed_model_makes_auto_unavailable(tmp_path: Path) -> None:
    write_model(tmp_path / "models", "low", preprocess=GRAY)
    broken = write_model(tmp_path / "models", "high", preprocess=GRAY)
    (broken / "model.onnx").write_bytes(b"changed")
    with serve(tmp_path / "models", auto_models="low,high") as client:
        files = {"file": gray(3)}
        problem(client.post("/classify", files=files), 503, "not_ready")
        assert client.post("/classify?model=low", files=files).status_code == 200
        problem(client.get("/ready"), 503, "not_ready")
        assert client.get("/models/auto").json()["state"] == "failed"
