"""GET /models and GET /models/{name}."""

import time
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from backend.inference import autotune, probes, runtimes
from backend.inference.models import artifact
from backend.inference.runtimes import Alternative
from backend.inference.runtimes.fake_runtime import FakeRuntime
from tests.api.problems import problem
from tests.fake_models import DIGITS, serve, write_model
from tests.images import encoded, seven


def wait_until_loaded(client: TestClient) -> None:
    while any(model["state"] == "loading" for model in client.get("/models").json()["models"]):
        pass


def test_ready_model_is_described(client: TestClient) -> None:
    wait_until_loaded(client)
    body = client.get("/models").json()
    (model,) = body["models"]
    assert body["default"] == model["name"] == "fake"
    assert (model["state"], model["version"], model["runtime"]) == ("ready", "1", "fake")
    assert model["labels"] == list(DIGITS)
    assert model["input"] == {"kind": "digit", "shape": [1, 28, 28]}


@pytest.mark.parametrize(("setting", "expected"), [("auto", "int8"), ("fp32", "fp32")])
def test_precision_and_its_reason_are_shown(
    models_dir: Path, monkeypatch: pytest.MonkeyPatch, setting: str, expected: str
) -> None:
    def alternatives(*arguments: object) -> list[Alternative]:
        quantized = Alternative("onnx", "int8", lambda *, threads: FakeRuntime(10))
        return [quantized] if arguments[-1] == "auto" else []

    monkeypatch.setattr(runtimes, "alternatives", alternatives)
    monkeypatch.setattr(probes, "COUNT", 3)
    monkeypatch.setattr(autotune, "_PROBE_SECONDS", 0.0)
    monkeypatch.setattr(autotune.Autotuner, "compare_speed", lambda *_: 1.5)
    with serve(models_dir, measure=True, precision=setting) as client:
        wait_until_loaded(client)
        while not ((model := client.get("/models/fake").json())["plan"] or {}).get("measured"):
            time.sleep(0.01)
    assert model["precision"] == expected
    comparisons = model["plan"]["comparisons"]
    assert [each["used"] for each in comparisons] == ([True] if expected == "int8" else [])
    for each in comparisons:
        assert (each["agreement"], each["speed"]) == (1.0, 1.5)
        assert each["reason"] == "Its answers agree, and it is 1.50 times as fast."


def test_label_ids_are_listed(models_dir: Path) -> None:
    folder = write_model(models_dir, "named")
    ids = tuple(f"id-{label}" for label in DIGITS)
    manifest = artifact.read_manifest(folder).model_copy(update={"label_ids": ids})
    artifact.write_manifest(folder, manifest)
    with serve(models_dir) as client:
        wait_until_loaded(client)
        models = {model["name"]: model for model in client.get("/models").json()["models"]}
    assert models["named"]["label_ids"] == list(ids)
    assert models["fake"]["label_ids"] is None


def test_invalid_folder_fails_alone_with_reason(models_dir: Path) -> None:
    bad = write_model(models_dir, "damaged")
    (bad / artifact.ONNX).write_bytes(b"changed")
    with serve(models_dir, default_model="fake") as client:
        wait_until_loaded(client)
        models = {model["name"]: model for model in client.get("/models").json()["models"]}
        assert models["fake"]["state"] == "ready"
        assert models["damaged"]["state"] == "failed"
        assert "SHA-256" in models["damaged"]["error"]
        assert str(models_dir) not in models["damaged"]["error"]
        image = {"file": encoded(seven())}
        assert client.post("/classify", files=image).status_code == 200
        problem(client.post("/classify?model=damaged", files=image), 503, "not_ready")


def test_single_model_includes_card(models_dir: Path) -> None:
    folder = write_model(models_dir, "carded")
    (folder / artifact.CARD).write_text("# A card")
    with serve(models_dir) as client:
        wait_until_loaded(client)
        model = client.get("/models/carded").json()
        assert model["card"] == "# A card"
        assert (model["state"], model["labels"]) == ("ready", list(DIGITS))
        assert client.get("/models/fake").json()["card"] is None
        problem(client.get("/models/nowhere"), 404, "unknown_model")


def test_card_that_is_a_link_out_of_the_folder_is_not_shown(models_dir: Path) -> None:
    secret = models_dir.parent / "secret"
    secret.write_text("secret")
    (write_model(models_dir, "linked") / artifact.CARD).symlink_to(secret)
    with serve(models_dir) as client:
        wait_until_loaded(client)
        model = client.get("/models/linked").json()
        assert (model["state"], model["card"]) == ("ready", None)
