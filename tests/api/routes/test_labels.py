"""Binary and multi-label models through the API, on tiny networks in ONNX Runtime."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest
from starlette.testclient import TestClient

from backend.api.schemas.classify import Classification
from backend.api.schemas.history import StoredClassification
from backend.app import create_app
from calibration.sigmoid import sigmoid
from client.parsing import parse_classification, parse_models
from tests.fake_models import LOCALHOST, settings_for, wait_until_ready
from tests.sigmoid_models import COLORS, color, logits, write_model

CALIBRATION: dict[str, Any] = {
    "scaling": [{"slope": 1, "intercept": 0}] * 3,
    "thresholds": [0.5, 0.9, 0.2],
    "pictures": 10,
    "source": "invented",
}


def serve(models_dir: Path, **settings: Any) -> TestClient:
    return TestClient(create_app(settings_for(models_dir, **settings)), base_url=LOCALHOST)


def classify(client: TestClient, image: bytes, **query: Any) -> dict[str, Any]:
    headers = {"Content-Type": "image/png"}
    response = client.post("/classify", content=image, params=query, headers=headers)
    assert response.status_code == 200, response.text
    fields: dict[str, Any] = response.json()
    return fields


@pytest.fixture
def client(tmp_path: Path) -> Iterator[TestClient]:
    write_model(tmp_path / "models", calibration=CALIBRATION)
    with serve(tmp_path / "models", history=True, history_open=True) as client:
        wait_until_ready(client)
        while client.get("/history").status_code == 503:  # until the database is open
            time.sleep(0.01)
        yield client


def test_labels_above_their_thresholds_are_returned(client: TestClient) -> None:
    # The probability of green, 0.62, is above that of blue, but below its threshold.
    found = classify(client, color(1.0, 0.56, 0.4))
    shares = sigmoid(np.array(logits(1.0, 0.56, 0.4), np.float32))
    np.testing.assert_allclose(found["probabilities"], shares, atol=1e-6)
    assert [each["label"] for each in found["labels"]] == ["red", "blue"]
    assert (found["task"], found["prediction"]) == ("multi-label", "red")
    assert found["confidence"] == pytest.approx(shares[0], abs=1e-6)
    for name in ("prediction_set", "coverage", "in_distribution", "ood_score"):
        assert found[name] is None
    Classification.model_validate(found)
    parsed = parse_classification(found, None)
    assert parsed.labels is not None
    assert [score.index for score in parsed.labels] == [0, 2]


def test_image_may_have_no_label(client: TestClient) -> None:
    found = classify(client, color(0, 0, 0), coverage=0.9)
    assert found["labels"] == []
    assert found["confidence"] < 0.05


def test_batch_has_labels(client: TestClient) -> None:
    files = [("file", ("a.png", color(1, 0, 0))), ("file", ("b.png", color(0, 0, 1)))]
    lines = client.post("/classify/batch", files=files).text.splitlines()
    labels = [[each["label"] for each in orjson.loads(line)["labels"]] for line in lines]
    assert labels == [["red"], ["blue"]]


def test_models_tell_the_task(client: TestClient) -> None:
    served = client.get("/models").json()
    (model,) = served["models"]
    assert model["task"] == "multi-label"
    assert model["calibration"]["thresholds"] == [0.5, 0.9, 0.2]
    info = parse_models(served).models[0]
    assert info.task == "multi-label"
    assert info.calibration is not None
    assert info.calibration.thresholds == (0.5, 0.9, 0.2)


def test_history_stores_the_labels(client: TestClient) -> None:
    found = classify(client, color(1, 0, 1))
    assert found["stored"]
    stored = client.get(f"/history/{found['id']}").json()
    assert [each["label"] for each in stored["labels"]] == ["red", "blue"]
    StoredClassification.model_validate(stored)
    assert '""red""' in client.get("/history/export", params={"format": "csv"}).text


def test_label_is_explained_by_its_own_probability(client: TestClient) -> None:
    found = classify(client, color(1, 0, 1), explain=True)
    assert found["explanation"]["label"] in ("red", "blue")


@pytest.mark.parametrize("output", ["logits", "probabilities"])
def test_binary_model_answers_with_one_of_two_labels(tmp_path: Path, output: str) -> None:
    write_model(tmp_path / "models", "binary", output=output)
    with serve(tmp_path / "models") as client:
        red, other = (classify(client, color(level, 0, 0)) for level in (0.8, 0.1))
        assert client.get("/models/colors").json()["task"] == "binary"
        explained = classify(client, color(0.1, 0, 0), explain=True)
    share = sigmoid(np.array(logits(0.8, 0, 0)[:1], np.float32))[0]
    np.testing.assert_allclose(red["probabilities"], [1 - share, share], atol=1e-6)
    assert (red["prediction"], other["prediction"]) == ("red", "other")
    assert red["task"] == "binary"
    assert "labels" not in red
    assert explained["explanation"]["method"] == "occlusion"


def test_classification_of_single_label_model_has_no_new_fields(tmp_path: Path) -> None:
    write_model(tmp_path / "models", "single-label")
    with serve(tmp_path / "models") as client:
        found = classify(client, color(1, 0, 0))
    assert not {"task", "labels"} & found.keys()
    assert sum(found["probabilities"]) == pytest.approx(1)
    assert found["top"][0]["label"] in COLORS
