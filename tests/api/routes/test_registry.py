"""PUT and DELETE /models/{name}, and the routes of versions."""

import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from starlette.testclient import TestClient

from backend.app import create_app
from backend.inference import runtimes
from backend.inference.models.artifact import Artifact
from backend.inference.models.head import MAX_HEAD_BYTES
from backend.inference.runtimes.fake_runtime import FakeRuntime
from backend.keys import hash_key
from backend.registry import uploads
from backend.registry.errors import StoreUnavailableError
from backend.registry.registry import Registry
from tests.api.problems import problem
from tests.api.routes.test_models import wait_until_loaded
from tests.fake_models import CALIBRATION, LOCALHOST, settings_for, write_model
from tests.images import encoded
from tests.inference.heads import write_backbone
from tests.registry.heads import form, head, manifest

RED, GREEN = (encoded(Image.new("RGB", (64, 64), color)) for color in ("red", (0, 255, 0)))
HASH = 64 * "a"

Put = Callable[..., Any]


def load(model: Artifact, *_: object, **options: Any) -> runtimes.Runtime:
    if model.manifest.name == "photos":
        return runtimes.load(model, "onnx", **options)
    return FakeRuntime(len(model.manifest.labels))


def serve(models_dir: Path, **settings: Any) -> TestClient:
    defaults = {"default_model": "fake", "models_open": True, "timeout": 60}
    app = create_app(settings_for(models_dir, **defaults | settings), load)
    return TestClient(app, LOCALHOST, raise_server_exceptions=False)


@pytest.fixture(scope="module")
def models_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("registry") / "models"
    write_backbone(folder)
    write_model(folder)
    return folder


@pytest.fixture(scope="module")
def service(models_dir: Path) -> Iterator[TestClient]:
    """Return a client of one service for all tests."""
    with serve(models_dir) as client:
        wait_until_loaded(client)
        yield client


@pytest.fixture
def client(service: TestClient, models_dir: Path) -> Iterator[TestClient]:
    """Return a client of a service without taught models."""
    yield service
    for model in service.get("/models").json()["models"]:
        if model["name"] not in ("photos", "fake"):
            assert service.delete(f"/models/{model['name']}").status_code == 204
    assert not stored(models_dir)


def stored(models_dir: Path) -> list[Path]:
    """Return the folders of versions in the store."""
    return list(models_dir.parent.glob("models-data/registry/versions/*"))


@pytest.fixture
def put(client: TestClient, models_dir: Path) -> Put:
    """Return a function that uploads a model for red and green images."""

    def upload(name: str = "colors", *, query: str = "", **fields: Any) -> Any:
        parts = form(manifest(models_dir, **fields))
        return client.put(f"/models/{name}{query}", files=parts)

    return upload


def classify(client: TestClient, model: str, image: bytes = RED) -> dict[str, Any]:
    response = client.post(f"/classify?model={model}", files={"file": image})
    assert response.status_code == 200, response.text
    body: dict[str, Any] = response.json()
    return body


def test_uploaded_model_is_served_at_once(client: TestClient, put: Put) -> None:
    response = put(query="?reason=first+try")
    assert response.status_code == 201
    version = response.json()
    assert version.pop("created")
    assert version == {
        "name": "colors",
        "version": 1,
        "author": None,
        "reason": "first try",
        "active": True,
        "metrics": {"accuracy": 0.75},
        "labels": ["red", "green"],
    }
    red = classify(client, "colors")
    assert (red["prediction"], red["model"]) == ("red", {"name": "colors", "version": "1"})
    assert classify(client, "colors", GREEN)["prediction"] == "green"
    model = client.get("/models/colors").json()
    assert (model["state"], model["labels"]) == ("ready", ["red", "green"])


def test_new_version_is_activated_and_rolled_back(client: TestClient, put: Put) -> None:
    put()
    put(labels=["rouge", "vert"])
    assert classify(client, "colors")["prediction"] == "rouge"
    assert classify(client, "colors@1")["prediction"] == "red"
    rolled_back = client.post("/models/colors/versions/1/activate").json()
    assert (rolled_back["version"], rolled_back["active"]) == (1, True)
    assert classify(client, "colors")["prediction"] == "red"
    assert classify(client, "colors@latest")["prediction"] == "rouge"
    body = client.get("/models/colors/versions").json()
    assert (body["model"], body["active"]) == ("colors", 1)
    assert [(each["version"], each["active"]) for each in body["versions"]] == [
        (2, False),
        (1, True),
    ]


def test_version_can_be_uploaded_without_activating_it(client: TestClient, put: Put) -> None:
    put()
    assert not put(query="?activate=false", labels=["rouge", "vert"]).json()["active"]
    assert classify(client, "colors")["prediction"] == "red"


def test_versions_are_deleted_except_the_active_one(client: TestClient, put: Put) -> None:
    put()
    put()
    problem(client.delete("/models/colors/versions/2"), 409, "version_active")
    assert client.delete("/models/colors/versions/1").status_code == 204
    problem(client.delete("/models/colors/versions/1"), 404, "unknown_version")
    problem(client.post("/classify?model=colors@1", files={"file": RED}), 404, "unknown_model")


def test_deleted_model_is_gone(client: TestClient, put: Put) -> None:
    put()
    assert client.delete("/models/colors").status_code == 204
    problem(client.post("/classify?model=colors", files={"file": RED}), 404, "unknown_model")
    problem(client.delete("/models/colors"), 404, "unknown_model")
    problem(client.get("/models/colors/versions"), 404, "unknown_model")
    assert put().json()["version"] == 1


def test_models_are_served_after_a_restart(models_dir: Path, tmp_path: Path) -> None:
    with serve(models_dir, data_dir=tmp_path) as client:
        client.put("/models/colors", files=form(manifest(models_dir)))
    with serve(models_dir, data_dir=tmp_path) as client:
        assert classify(client, "colors")["prediction"] == "red"


def test_other_instance_with_the_same_store_serves_the_model(
    client: TestClient, models_dir: Path
) -> None:
    with serve(models_dir) as second:
        client.put("/models/colors", files=form(manifest(models_dir)))
        while second.get("/models/colors").status_code == 404:
            pass
        assert classify(second, "colors")["prediction"] == "red"


@pytest.mark.parametrize("name", ["auto", "photos", "fake"])
def test_names_of_the_operator_are_reserved(name: str, put: Put, client: TestClient) -> None:
    problem(put(name), 409, "name_reserved")
    problem(client.delete(f"/models/{name}"), 409, "name_reserved")
    problem(client.post(f"/models/{name}/versions/1/activate"), 409, "name_reserved")
    assert client.get("/models/photos").json()["state"] == "ready"


@pytest.mark.parametrize(
    "name", ["Colors", "a b", "-a", "a.", 300 * "a", "a@1", "é", "%2e%2e%2fa", "a%00", "a\u202e"]
)
def test_invalid_name_is_refused(name: str, put: Put) -> None:
    response = put(name)
    codes = {422: "invalid_parameter", 404: "not_found"}  # 404: with a slash it is another path
    problem(response, response.status_code, codes[response.status_code])


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"labels": [f"label {n}" for n in range(10_000)]}, "10,000 labels"),
        ({"labels": ["only"]}, "1 labels"),
        ({"labels": ["a", "a"]}, "the same"),
        ({"labels": ["a", " "]}, "empty"),
        ({"labels": ["a", "\u200b"]}, "empty"),
        ({"labels": ["a", "a\u200b"]}, "the same"),
        ({"labels": ["\u00e9", "e\u0301"]}, "the same"),
        ({"labels": ["a", "b\u202e"]}, "control character"),
        ({"labels": ["a", "b\nc"]}, "control character"),
        ({"labels": ["a", 101 * "b"]}, "more than 100 characters"),
        ({"labels": "ab"}, "list"),
        ({"labels": ["a", 1]}, "list"),
        ({"labels": None}, "list"),
        ({"calibration": CALIBRATION | {"temperature": 0}}, "temperature"),
        ({"calibration": CALIBRATION | {"temperature": -1}}, "temperature"),
        ({"calibration": CALIBRATION | {"temperature": 1e300}}, "temperature"),
        ({"calibration": CALIBRATION | {"sets": []}}, "sets"),
        ({"calibration": CALIBRATION | {"source": "a\x1b[2J"}}, "control character"),
        ({"output": "probabilities"}, "output"),
        ({"backbone": {"name": "photos", "sha256": HASH}}, "other weights"),
        ({"backbone": {"name": "absent", "sha256": HASH}}, "absent"),
        ({"architecture": "onnx", "backbone": None}, "only taught models"),
        ({"metrics": {"x" * 65: 1}}, "more than 64"),
        ({"preprocess": {"kind": "digit"}}, "preprocess"),
        ({"unknown": 1}, "unknown"),
        ({"title": "a\x00b"}, "control character"),
        ({"format": 2}, "format"),
    ],
    ids=str,
)
def test_invalid_manifest_is_refused_with_a_reason(
    fields: dict[str, Any], message: str, put: Put, client: TestClient
) -> None:
    detail = problem(put(**fields), 422, "invalid_model")["detail"]
    assert message in detail
    assert client.get("/models/colors").status_code == 404


_WEIGHT = np.array([[9, 0, 0], [0, 9, 0]], np.float32)


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        ({"weight": _WEIGHT * np.nan}, "not finite"),
        ({"bias": np.array([np.inf, 0], np.float32)}, "not finite"),
        ({"weight": _WEIGHT.astype(np.float64)}, "float64"),
        ({"weight": _WEIGHT[:, :2]}, "features"),
        ({"weight": _WEIGHT[:1]}, "shape"),
        ({"bias": np.zeros(3, np.float32)}, "shape"),
        ({"bias": None}, "bias"),
        ({"other": np.zeros(2, np.float32)}, "no others"),
        ({"weight": np.full((2, 3), 3e38, np.float32)}, "finite"),
    ],
    ids=str,
)
def test_invalid_head_never_replaces_a_version_that_works(
    tensors: dict[str, Any], message: str, put: Put, client: TestClient, models_dir: Path
) -> None:
    put()
    parts = form(manifest(models_dir), head(**tensors))
    detail = problem(client.put("/models/colors", files=parts), 422, "invalid_model")["detail"]
    assert message in detail
    assert str(models_dir.parent) not in detail
    assert classify(client, "colors")["model"]["version"] == "1"
    assert len(stored(models_dir)) == 1


def safetensors(dtype: str, *offsets: tuple[int, int], data: bytes = bytes(32)) -> bytes:
    """Return a head whose header gives the tensors weight and bias a type and offsets."""
    shapes = {"weight": [2, 3], "bias": [2]}
    header = {
        name: {"dtype": dtype, "shape": shape, "data_offsets": each}
        for (name, shape), each in zip(shapes.items(), offsets, strict=True)
    }
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + data


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"pickle" * 100,
        b"\xff" * 100,
        b"\x02" + 7 * b"\0" + b"{}",
        (9_000).to_bytes(8, "little") + b"[" * 9_000,
        (2**40).to_bytes(8, "little") + b"{}",
        safetensors("F32", (0, 24), (0, 8)),  # they overlap
        safetensors("F32", (0, 24), (16, 24)),
        safetensors("F32", (8, 32), (24, 32)),
        safetensors("F32", (0, 24), (24, 32), data=bytes(8)),
        safetensors("F32", (0, 24), (24, 32), data=bytes(1000)),
        safetensors("BF16", (0, 12), (12, 16), data=bytes(16)),
        safetensors("F8_E4M3", (0, 6), (6, 8), data=bytes(8)),
        safetensors("BOOL", (0, 6), (6, 8), data=bytes(8)),
        safetensors("F128", (0, 24), (24, 32)),
    ],
    ids=range(15),
)
def test_head_of_another_format_is_refused(
    content: bytes, client: TestClient, models_dir: Path
) -> None:
    parts = form(manifest(models_dir)) | {"head": ("head", content)}
    problem(client.put("/models/colors", files=parts), 422, "invalid_model")


@pytest.mark.parametrize(
    ("part", "size"),
    [
        ("head", MAX_HEAD_BYTES + 1),
        ("manifest", uploads.MAX_MANIFEST_BYTES + 1),
        ("card", uploads.MAX_CARD_BYTES + 1),
    ],
)
def test_oversized_part_is_refused(
    part: str, size: int, client: TestClient, models_dir: Path
) -> None:
    parts = form(manifest(models_dir)) | {part: (part, bytes(size))}
    detail = problem(client.put("/models/colors", files=parts), 413, "upload_too_large")["detail"]
    assert part in detail


def test_announced_size_is_refused_before_the_body_is_read(client: TestClient) -> None:
    headers = {
        "Content-Type": "multipart/form-data; boundary=x",
        "Content-Length": "2000000000",
    }
    response = client.put("/models/colors", content=b"--x", headers=headers)
    problem(response, 413, "body_too_large")


def test_form_must_have_the_known_parts_once(client: TestClient, models_dir: Path) -> None:
    parts = form(manifest(models_dir))
    for name in ("manifest", "head"):
        rest = {key: part for key, part in parts.items() if key != name}
        problem(client.put("/models/colors", files=rest), 400, "missing_file")
    twice = [*parts.items(), ("head", ("head", head()))]
    problem(client.put("/models/colors", files=twice), 400, "malformed_request")
    problem(client.put("/models/colors", files=parts | {"code": b"x"}), 400, "malformed_request")
    problem(client.put("/models/colors", content=b"{}"), 415, "unsupported_media_type")


@pytest.mark.parametrize(
    "content",
    [
        b"{",
        b"[]",
        b"{" * 900,
        b'{"labels": ' + b"[" * 40_000 + b"]" * 40_000 + b"}",
        b'{"labels": NaN}',
        b"\xff",
    ],
    ids=range(6),
)
def test_manifest_that_is_no_json_object_is_refused(
    content: bytes, client: TestClient, models_dir: Path
) -> None:
    parts = form(manifest(models_dir), manifest=content)
    problem(client.put("/models/colors", files=parts), 422, "invalid_model")


def test_names_of_files_in_the_manifest_are_ignored(client: TestClient, models_dir: Path) -> None:
    files = {"../../escaped": HASH, "model.onnx": HASH}
    parts = form(manifest(models_dir, files=files, name="../x", version="../../y"))
    assert client.put("/models/colors", files=parts).status_code == 201
    (folder,) = stored(models_dir)
    assert {path.name for path in folder.iterdir()} == {"manifest.json", "head.safetensors"}


def test_labels_are_text(client: TestClient, put: Put) -> None:
    labels = ["<script>alert(1)</script>", "שלום 👩‍🚀 {{x}} $(id)"]
    assert put(labels=labels).json()["labels"] == labels
    assert classify(client, "colors")["prediction"] == labels[0]


def test_concurrent_uploads_are_all_kept(client: TestClient, put: Put) -> None:
    with ThreadPoolExecutor() as threads:
        responses = list(threads.map(lambda _: put(), range(4)))
    assert sorted(response.json()["version"] for response in responses) == [1, 2, 3, 4]


def test_files_stay_if_the_publication_is_not_confirmed(
    client: TestClient, put: Put, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish = Registry.publish

    def fail(*arguments: Any, **options: Any) -> None:
        publish(*arguments, **options)
        raise StoreUnavailableError("The model store cannot be used.")

    with monkeypatch.context() as patch:
        patch.setattr(Registry, "publish", fail)
        problem(put(), 503, "store_unavailable")
    assert client.post("/models/colors/versions/1/activate").status_code == 200
    assert classify(client, "colors")["prediction"] == "red"


def test_card_is_shown(client: TestClient, models_dir: Path) -> None:
    parts = form(manifest(models_dir), card="# Colors ✓".encode())
    client.put("/models/colors", files=parts)
    assert client.get("/models/colors").json()["card"] == "# Colors ✓"
    parts = form(manifest(models_dir), card=b"\xff")
    problem(client.put("/models/colors", files=parts), 422, "invalid_model")


def test_memory_of_active_models_is_bounded(
    models_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("backend.app.DEFAULT_MAX_ACTIVE_BYTES", 2500)
    with serve(models_dir, data_dir=tmp_path) as client:
        responses = [
            client.put(f"/models/colors{number}", files=form(manifest(models_dir)))
            for number in range(4)
        ]
        problem(responses[-1], 409, "store_full")
        assert classify(client, "colors0")["prediction"] == "red"


def test_routes_need_a_key_or_an_open_registry(models_dir: Path) -> None:
    routes = [
        ("PUT", "/models/colors"),
        ("DELETE", "/models/colors"),
        ("GET", "/models/colors/versions"),
        ("POST", "/models/colors/versions/1/activate"),
        ("DELETE", "/models/colors/versions/1"),
    ]
    with serve(models_dir, models_open=False) as client:
        for method, path in routes:
            problem(client.request(method, path), 401, "api_key_missing")


def test_author_is_the_name_of_the_key(models_dir: Path, tmp_path: Path) -> None:
    keys = ",".join(
        f"{name}={hash_key(name.encode()).hex()}{scopes}"
        for name, scopes in (("ann", ";scopes=models"), ("bob", ""))
    )
    with serve(models_dir, models_open=False, api_keys=keys, data_dir=tmp_path) as client:
        parts = form(manifest(models_dir))
        response = client.put("/models/colors", files=parts, headers={"X-API-Key": "ann"})
        assert response.json()["author"] == "ann"
        response = client.put("/models/colors", files=parts, headers={"X-API-Key": "bob"})
        problem(response, 403, "scope_missing")
