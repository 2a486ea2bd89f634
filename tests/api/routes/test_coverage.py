"""Prediction sets, coverage and out-of-distribution detection over HTTP."""

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

# The fake model's logits are 5 for one class and 0 for nine: at temperature 1.5 the nine have a
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
        ("?coverage=0.990", 0.99, ALL),
    ],
)
def test_prediction_set_has_requested_coverage(
    client: TestClient, query: str, coverage: float, labels: list[str]
) -> None:
    one = client.post("/classify" + query, **FORM).json()
    (line,) = client.post("/classify/batch" + query, **FORM).text.splitlines()
    for result in (one, json.loads(line)):
        assert (result["prediction_set"], result["coverage"]) == (labels, coverage)
        assert result["in_distribution"] is True
        assert result["ood_score"] == pytest.approx(-5.058874, abs=1e-5)
        assert result["confidence"] == pytest.approx(0.757, abs=1e-3)


@pytest.mark.parametrize("path", ["/classify", "/classify/batch"])
@pytest.mark.parametrize("value", ["0.5", "1", "0", "-95", "9", "95.5", "nan", "inf", "high", ""])
def test_unsupported_coverage_returns_422(client: TestClient, path: str, value: str) -> None:
    body = problem(client.post(f"{path}?coverage={value}", **FORM), 422, "invalid_parameter")
    assert body["detail"] == "coverage: must be 0.9, 0.95 or 0.99."


def test_score_above_limit_is_out_of_distribution(
    tmp_path: Path,
) -> None:
    write_model(tmp_path, calibration=CALIBRATION | {"max_ood_score": -5.1})
    with serve(tmp_path) as client:
        result = client.post("/classify", **FORM).json()
    assert result["in_distribution"] is False
    assert result["prediction_set"] == ["0"]  # still returned; clients decide what to show


def test_uncalibrated_model_returns_null_for_coverage(
    tmp_path: Path,
) -> None:
    write_model(tmp_path)
    with serve(tmp_path) as client:
        result = client.post("/classify?coverage=0.99", **FORM).json()
        assert client.get("/models/fake").json()["calibration"] is None
    assert result["prediction_set"] is result["coverage"] is result["in_distribution"] is None


def test_models_include_calibration(client: TestClient) -> None:
    client.post("/classify", **FORM)  # waits until the model is ready
    expected = CALIBRATION | {"ood_method": "energy", "scaling": None, "thresholds": None}
    assert client.get("/models/fake").json()["calibration"] == expected
    (model,) = client.get("/models").json()["models"]
    assert model["calibration"] == expected


def test_predict_returns_calibrated_probabilities(
    client: TestClient,
) -> None:
    ((*row,),) = client.post("/predict", json={"input": [[0] * 784]}).json()
    assert row == pytest.approx([(0.757 if i == 7 else 0.027) for i in range(10)], abs=1e-3)
