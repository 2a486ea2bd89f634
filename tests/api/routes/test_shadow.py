"""A shadow classifies a share of the images of its model, and is not returned."""

import base64
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from starlette.testclient import TestClient

from backend.app import create_app
from backend.inference import runtimes
from backend.inference.head_classifier import HeadClassifier
from backend.inference.models.artifact import Artifact
from backend.inference.runtimes.fake_runtime import FakeRuntime
from tests.api.problems import problem
from tests.api.routes.test_history import wait_until_open
from tests.fake_models import LOCALHOST, settings_for, write_model
from tests.images import encoded
from tests.inference.heads import write_backbone
from tests.registry.heads import form, head, manifest

SHADOW = "/models/colors/shadow"
RED, GREEN, YELLOW = (
    encoded(Image.new("RGB", (64, 64), color)) for color in ("red", (0, 255, 0), (255, 255, 0))
)
# Calls everything green but what is pure red.
GREENISH = head(bias=np.array([-6, 0], np.float32))
NOTHING = {"low": None, "high": None, "value": None}

WAIT = 30  # s


def load(model: Artifact, *_: object, **options: Any) -> runtimes.Runtime:
    if model.manifest.name == "fake":
        return FakeRuntime(len(model.manifest.labels))
    return runtimes.load(model, "onnx", **options)


def serve(models_dir: Path, **settings: Any) -> TestClient:
    defaults = {"default_model": "fake", "models_open": True, "timeout": 60}
    app = create_app(settings_for(models_dir, **defaults | settings), load)
    return TestClient(app, LOCALHOST, raise_server_exceptions=False)


@pytest.fixture
def models_dir(tmp_path: Path) -> Path:
    folder = tmp_path / "models"
    write_backbone(folder)
    write_model(folder)
    return folder


@pytest.fixture
def client(models_dir: Path) -> Iterator[TestClient]:
    """A service with two versions of a model; the first one is active."""
    with serve(models_dir, history=True, history_open=True) as client:
        wait_until_open(client)
        upload(client, models_dir)
        upload(client, models_dir, GREENISH)
        yield client


def upload(
    client: TestClient, models_dir: Path, weights: bytes | None = None, **fields: Any
) -> None:
    parts = form(manifest(models_dir, **fields), weights)
    activate = str(weights is None).lower()
    response = client.put(f"/models/colors?activate={activate}", files=parts)
    assert response.status_code == 201, response.text


def classify(
    client: TestClient, image: bytes = RED, query: str = "?model=colors"
) -> dict[str, Any]:
    response = client.post(f"/classify{query}", files={"file": image})
    assert response.status_code == 200, response.text
    body: dict[str, Any] = response.json()
    return body


def start(client: TestClient, version: int = 2, **fields: Any) -> dict[str, Any]:
    response = client.put(SHADOW, json={"version": version, **fields})
    assert response.status_code == 200, response.text
    body: dict[str, Any] = response.json()
    return body


def compared(client: TestClient, images: int) -> dict[str, Any]:
    """Return the comparison once it has this number of images."""
    end = time.monotonic() + WAIT
    while True:
        body: dict[str, Any] = client.get(SHADOW).json()
        assert body["images"] <= images
        if body["images"] == images:
            return body
        assert time.monotonic() < end, body
        time.sleep(0.05)


def test_shadow_is_compared_and_never_returned(client: TestClient) -> None:
    started = start(client, share=1)
    assert started.pop("since")
    assert started == {
        "model": "colors",
        "version": 2,
        "active": 1,
        "share": 1,
        "images": 0,
        "agreement": NOTHING,
        "confidence": {"active": None, "shadow": None},
        "milliseconds": {"active": None, "shadow": None},
        "corrected": {
            "images": 0,
            "both_right": 0,
            "only_active_right": 0,
            "only_shadow_right": 0,
            "both_wrong": 0,
            "p_value": 1,
        },
    }
    answers = [classify(client, image) for image in (RED, GREEN, YELLOW)]
    assert [each["prediction"] for each in answers] == ["red", "green", "red"]
    assert {each["model"]["version"] for each in answers} == {"1"}
    body = compared(client, 3)
    assert body["agreement"]["value"] == pytest.approx(2 / 3)
    assert 0 < body["agreement"]["low"] < 2 / 3 < body["agreement"]["high"] < 1
    assert body["confidence"]["active"] == pytest.approx(answers[0]["confidence"])
    assert body["confidence"]["shadow"] != body["confidence"]["active"]
    assert min(body["milliseconds"].values()) > 0
    assert {each["model"]["version"] for each in client.get("/history").json()["answers"]} == {"1"}


def test_images_of_other_protocols_are_compared(client: TestClient) -> None:
    start(client)
    image = {"b64": base64.b64encode(YELLOW).decode()}
    for query in ("", "?store=false"):
        path = f"/v1/models/colors:predict{query}"
        assert client.post(path, json={"instances": [image, image]}).status_code == 200
    assert compared(client, 2)["agreement"]["value"] == 0


def test_feedback_tells_which_version_is_right(client: TestClient) -> None:
    start(client)
    for image, correction in ((RED, "red"), (YELLOW, "green"), (YELLOW, "green"), (YELLOW, "red")):
        id = classify(client, image)["id"]  # noqa: A001
        assert client.patch(f"/history/{id}", json={"correction": correction}).status_code == 200
    classify(client)
    assert compared(client, 5)["corrected"] == {
        "images": 4,
        "both_right": 1,
        "only_active_right": 1,
        "only_shadow_right": 2,
        "both_wrong": 0,
        "p_value": 1,
    }


def test_correction_may_be_a_label_that_only_the_shadow_has(
    client: TestClient, models_dir: Path
) -> None:
    upload(client, models_dir, GREENISH, labels=["red", "lime"])
    start(client, 3)
    id = classify(client, GREEN)["id"]  # noqa: A001
    corrected = client.patch(f"/history/{id}", json={"correction": "lime"})
    assert corrected.json()["correction"] == "lime"
    assert compared(client, 1)["corrected"]["only_shadow_right"] == 1
    problem(client.patch(f"/history/{id}", json={"correction": "blue"}), 422, "unknown_label")
    client.delete(SHADOW)
    problem(client.patch(f"/history/{id}", json={"correction": "lime"}), 422, "unknown_label")


def test_images_of_a_batch_are_compared(client: TestClient) -> None:
    start(client)
    files = [("file", (f"{number}.png", image)) for number, image in enumerate((RED, YELLOW))]
    response = client.post("/classify/batch?model=colors", files=files)
    assert response.text.count('"version":"1"') == 2
    assert compared(client, 2)["agreement"]["value"] == 0.5


def test_only_stored_images_of_the_active_version_are_classified(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    draws: list[float] = []

    def draw() -> float:
        draws.append(0.0)
        return 0.0

    monkeypatch.setattr(client.app_state["shadows"], "_draw", draw)
    start(client)
    for query in ("?model=colors@1", "?model=colors@2", "?model=colors&store=false", ""):
        classify(client, RED, query)
    classify(client)
    assert compared(client, 1)["images"] == len(draws)


def test_share_is_respected(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    draws = iter([0.0, 0.49, 0.5, 0.99])
    shadows = client.app_state["shadows"]
    monkeypatch.setattr(shadows, "_draw", lambda: next(draws))
    start(client, share=0.5)
    for _ in range(4):
        classify(client)
    assert compared(client, 2)["share"] == 0.5


def test_failing_shadow_harms_no_request(
    client: TestClient, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    start(client)
    classify(client)
    compared(client, 1)
    apply = HeadClassifier._apply

    def fail_for_the_shadow(self: HeadClassifier, *arguments: Any) -> Any:
        if self.manifest.version == "2":
            raise RuntimeError("the shadow fails")
        return apply(self, *arguments)

    monkeypatch.setattr(HeadClassifier, "_apply", fail_for_the_shadow)
    for _ in range(3):
        assert classify(client)["prediction"] == "red"
    monkeypatch.undo()
    classify(client)
    assert compared(client, 2)["images"] == 2
    assert caplog.text.count("the shadow of colors failed") == 1


def test_shadow_runs_only_another_backbone(
    models_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs: list[str] = []
    run = HeadClassifier.classify_as_shadow

    async def count(self: HeadClassifier, *arguments: Any) -> Any:
        runs.append(self.manifest.version)
        return await run(self, *arguments)

    monkeypatch.setattr(HeadClassifier, "classify_as_shadow", count)
    write_backbone(models_dir, "others")
    with serve(models_dir, history=True, history_open=True) as client:
        wait_until_open(client)
        upload(client, models_dir)
        other = manifest(models_dir)["backbone"] | {"name": "others"}
        upload(client, models_dir, GREENISH, backbone=other)
        upload(client, models_dir, GREENISH)
        for version in (2, 3):
            start(client, version)
            assert classify(client, YELLOW)["prediction"] == "red"
            assert compared(client, 1)["agreement"]["value"] == 0
        assert runs == ["2"]


def test_shadow_ends_by_activation_deletion_and_removal(client: TestClient) -> None:
    start(client)
    client.post("/models/colors/versions/2/activate")
    problem(client.get(SHADOW), 404, "no_shadow")
    start(client, 1)
    client.delete("/models/colors/versions/1")
    problem(client.get(SHADOW), 404, "no_shadow")
    client.post("/models/colors/versions/2/activate")
    for _ in range(2):
        assert client.delete(SHADOW).status_code == 204
    client.delete("/models/colors")
    problem(client.get(SHADOW), 404, "unknown_model")


def test_removed_shadow_classifies_nothing_and_starts_again_without_images(
    client: TestClient,
) -> None:
    start(client)
    classify(client)
    compared(client, 1)
    client.delete(SHADOW)
    classify(client)
    assert start(client)["images"] == 0
    classify(client)
    compared(client, 1)


def test_shadow_continues_after_a_restart_without_spare_capacity(
    models_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serve(models_dir, history=True, history_open=True) as client:
        wait_until_open(client)
        upload(client, models_dir)
        upload(client, models_dir, GREENISH)
        start(client)
    with serve(models_dir, history=True, history_open=True) as client:
        wait_until_open(client)
        monkeypatch.setattr(client.app_state["shadows"], "_activity", lambda: None)
        classify(client)
        compared(client, 1)


def test_deleted_history_is_not_compared(client: TestClient) -> None:
    start(client)
    classify(client)
    compared(client, 1)
    client.delete("/history")
    assert client.get(SHADOW).json()["images"] == 0


def test_invalid_shadow_is_refused(client: TestClient) -> None:
    problem(client.put(SHADOW, json={"version": 1}), 409, "version_active")
    problem(client.put(SHADOW, json={"version": 3}), 404, "unknown_version")
    problem(client.put(SHADOW, json={"version": 2, "padding": 1000 * " "}), 413, "body_too_large")
    bodies: list[object] = [
        {"version": 2, "share": 0},
        {"version": 2, "share": 1.1},
        {"version": 2, "share": None},
        {"version": "2"},
        {"version": 2, "shares": 1},
        {},
        [],
    ]
    for body in bodies:
        problem(client.put(SHADOW, json=body), 422, "invalid_parameter")
    problem(client.put(SHADOW, content=b'{"version": 2, "share": NaN}'), 422, "invalid_parameter")
    problem(client.get(SHADOW), 404, "no_shadow")


def test_shadow_needs_a_model_a_key_and_the_history(client: TestClient, models_dir: Path) -> None:
    problem(client.put("/models/absent/shadow", json={"version": 1}), 404, "unknown_version")
    problem(client.get("/models/absent/shadow"), 404, "unknown_model")
    problem(client.delete("/models/absent/shadow"), 404, "unknown_model")
    problem(client.put("/models/photos/shadow", json={"version": 1}), 409, "name_reserved")
    with serve(models_dir) as without:
        detail = problem(without.put(SHADOW, json={"version": 2}), 404, "history_off")["detail"]
        assert "PRISM_HISTORY" in detail
        problem(without.get(SHADOW), 404, "no_shadow")
    with serve(models_dir, models_open=False) as closed:
        for method in ("GET", "PUT", "DELETE"):
            problem(closed.request(method, SHADOW), 401, "api_key_missing")


def test_shadow_of_other_instance_is_used(client: TestClient, models_dir: Path) -> None:
    with serve(models_dir, history=True, history_open=True) as other:
        wait_until_open(other)
        start(other)
        find = client.app_state["shadows"]._find
        while find("colors") is None:
            client.get("/health")
        classify(client)
        classify(other)
        assert compared(other, 2) == compared(client, 2)
