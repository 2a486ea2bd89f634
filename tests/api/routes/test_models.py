"""GET /models and GET /models/{name}."""

from pathlib import Path

from starlette.testclient import TestClient

from backend.inference.models import artifact
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
