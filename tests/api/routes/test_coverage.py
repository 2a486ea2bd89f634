"""What a calibrated model promises over HTTP, and what it says of pictures that it cannot know."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from backend.inference.runtimes.fake_runtime import FakeRuntime
from tests.api.problems import problem
from tests.fake_models import CALIBRATION, serve, write_model
from tests.images import encoded, seven

SEVEN = encoded(seven())
FORM: dict[str, Any] = {"files": {"file": SEVEN}}

# A fake model's logits are 5 for one class and 0 for nine: at the temperature 1.5 the nine have a
# probability of 0.027 each.
LABELS = [str(digit) for digit in range(10)]
ALL = ["7", *(label for label in LABELS if label != "7")]


@pytest.fixture
def client(tmp_path: Path) -> Iterator[TestClient]:
    write_model(tmp_path, calibration=CALIBRATION)
    with serve(tmp_path, FakeRuntime(10, winner=lambda _: 7)) as client:
        yield client


@pytest.mark.parametrize(
    ("query", "coverage", "labels"),
    [
        ("", 0.95, ["7"]),
        ("?top_k=5", 0.95, ["7"]),
        ("?coverage=0.9", 0.9, ["7"]),
        ("?coverage=0.95", 0.95, ["7"]),
        ("?coverage=0.99", 0.99, ALL),
        ("?coverage=90", 0.9, ["7"]),
        ("?coverage=95", 0.95, ["7"]),
        ("?coverage=99", 0.99, ALL),
        ("?coverage=.990", 0.99, ALL),
    ],
)
def test_the_set_is_of_the_coverage_that_was_asked_for(
    client: TestClient, query: str, coverage: float, labels: list[str]
) -> None:
    one = client.post("/classify" + query, **FORM).json()
    (line,) = client.post("/classify/batch" + query, **FORM).text.splitlines()
    for answer in (one, json.loads(line)):
        assert (answer["prediction_set"], answer["coverage"]) == (labels, coverage)
        assert answer["in_distribution"] is True
        assert answer["ood_score"] == pytest.approx(-5.058874, abs=1e-5)
        assert answer["confidence"] == pytest.approx(0.757, abs=1e-3)


@pytest.mark.parametrize("path", ["/classify", "/classify/batch"])
@pytest.mark.parametrize("asked", ["0.5", "1", "0", "-95", "9", "95.5", "nan", "inf", "high", ""])
def test_another_coverage_is_refused_with_those_there_are(
    client: TestClient, path: str, asked: str
) -> None:
    body = problem(client.post(f"{path}?coverage={asked}", **FORM), 422, "invalid_parameter")
    assert body["detail"] == "coverage: 0.9, 0.95 or 0.99 is expected."


def test_a_picture_that_scores_more_than_the_limit_is_not_of_the_models_world(
    tmp_path: Path,
) -> None:
    write_model(tmp_path, calibration=CALIBRATION | {"max_ood_score": -5.1})
    with serve(tmp_path) as client:
        answer = client.post("/classify", **FORM).json()
    assert answer["in_distribution"] is False
    assert answer["prediction_set"] == ["0"]  # what to make of it is left to the client


def test_a_model_that_is_not_calibrated_takes_the_parameter_and_promises_nothing(
    tmp_path: Path,
) -> None:
    write_model(tmp_path)
    with serve(tmp_path) as client:
        answer = client.post("/classify?coverage=0.99", **FORM).json()
        assert client.get("/models/fake").json()["calibration"] is None
    assert answer["prediction_set"] is answer["coverage"] is answer["in_distribution"] is None


def test_the_calibration_is_told_of_each_model(client: TestClient) -> None:
    client.post("/classify", **FORM)  # waits until the model is there
    assert client.get("/models/fake").json()["calibration"] == CALIBRATION
    (model,) = client.get("/models").json()["models"]
    assert model["calibration"] == CALIBRATION


def test_the_digit_services_of_tutorials_answer_calibrated_probabilities(
    client: TestClient,
) -> None:
    ((*row,),) = client.post("/predict", json={"input": [[0] * 784]}).json()
    assert row == pytest.approx([(0.757 if i == 7 else 0.027) for i in range(10)], abs=1e-3)
