"""The parameter `explain` of POST /classify."""

import base64
import io
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image
from starlette.testclient import TestClient

from backend.inference.classifier import Classifier
from tests.fake_models import CALIBRATION, GRAY, gray, serve, write_model
from tests.images import SEVEN
from tests.inference.test_auto import KnownDigits


@pytest.fixture
def client(tmp_path: Path) -> Iterator[TestClient]:
    write_model(tmp_path / "models")
    with serve(tmp_path / "models", history=True, history_open=True) as client:
        while client.get("/history").status_code == 503:
            time.sleep(0.01)
        yield client


def test_explanation_is_returned_on_request(client: TestClient) -> None:
    answer = client.post("/classify?explain=true", files={"file": SEVEN}).json()
    explanation = answer["explanation"]
    assert explanation["method"] == "occlusion"
    assert explanation["label"] == answer["prediction"]
    kind, _, content = explanation["heatmap"].partition(",")
    assert kind == "data:image/png;base64"
    image = Image.open(io.BytesIO(base64.b64decode(content)))
    assert (image.mode, image.size) == ("L", (64, 64))
    assert "explanation" not in client.post("/classify", files={"file": SEVEN}).json()


def test_history_does_not_store_the_explanation(client: TestClient) -> None:
    answer = client.post("/classify?explain=true", files={"file": SEVEN}).json()
    assert answer["stored"]
    assert "explanation" not in client.get(f"/history/{answer['id']}").json()


def test_model_that_answered_explains(tmp_path: Path) -> None:
    for name in ("low", "high"):
        write_model(tmp_path / "models", name, preprocess=GRAY, calibration=CALIBRATION)
    settings = {"auto_models": "low,high", "default_model": "auto"}
    with serve(tmp_path / "models", KnownDigits(range(5)), **settings) as client:
        answer = client.post("/classify?explain=true", files={"file": gray(3)}).json()
    assert answer["model"]["name"] == "low"
    assert answer["explanation"]["label"] == "3"


def test_image_without_an_explanation_in_time_is_classified(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    limits: list[object] = []

    async def explain(self: Classifier, *arguments: object) -> None:
        limits.append(arguments[2])

    monkeypatch.setattr(Classifier, "explain", explain)
    answer = client.post(
        "/classify?explain=true", files={"file": SEVEN}, headers={"X-Request-Timeout": "5"}
    )
    assert answer.status_code == 200
    assert answer.json()["explanation"] is None
    assert isinstance(limits[0], float)
    assert 0 < limits[0] < 5
