"""The inference protocol of TorchServe."""

import base64
from collections.abc import Iterator

import pytest
from starlette.testclient import TestClient

from backend.inference.errors import ModelNotReadyError
from tests.fake_models import GRAY, GrayRuntime, gray, serve, wait_until_ready, write_model

PATHS = ["/predictions/gray", "/predictions/gray/3"]
TEXT = base64.b64encode(gray(4)).decode()


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    models = tmp_path_factory.mktemp("torchserve") / "models"
    write_model(models, "gray", preprocess=GRAY, version="3")
    with serve(models, GrayRuntime(), max_bytes=100_000) as client:
        wait_until_ready(client)
        yield client


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("method", ["POST", "PUT"])
@pytest.mark.parametrize(
    "content_type", ["", "image/png", "application/x-www-form-urlencoded", "application/json"]
)
def test_body_is_an_image_whatever_its_type(
    client: TestClient, path: str, method: str, content_type: str
) -> None:
    headers = {"Content-Type": content_type} if content_type else {}
    response = client.request(method, path, content=gray(4), headers=headers)
    scores = response.json()
    assert len(scores) == 5
    assert next(iter(scores)) == "4"
    assert list(scores.values()) == sorted(scores.values(), reverse=True)


@pytest.mark.parametrize("field", ["data", "body"])
def test_form_contains_the_image(client: TestClient, field: str) -> None:
    response = client.post(PATHS[0], files={field: ("kitten.jpg", gray(9))})
    assert next(iter(response.json())) == "9"


@pytest.mark.parametrize("value", [TEXT, [TEXT], {"data": TEXT}, {"body": {"b64": TEXT}}])
def test_json_contains_the_image_in_base64(client: TestClient, value: object) -> None:
    response = client.post(PATHS[0], json=value[0] if isinstance(value, list) else value)
    assert next(iter(response.json())) == "4"


@pytest.mark.parametrize(
    ("files", "status"),
    [
        ([("x", gray(4))], 400),
        ([("data", gray(4)), ("data", gray(4))], 400),
        ([("data", b"")], 400),
        ([("data", b"x" * 100_001)], 413),
    ],
)
def test_unusable_form_is_refused(
    client: TestClient, files: list[tuple[str, bytes]], status: int
) -> None:
    response = client.post(PATHS[0], files=[(name, ("f", data)) for name, data in files])
    assert response.status_code == status
    assert response.json()["code"] == status


def test_unknown_model_has_the_type_of_torchserve(client: TestClient) -> None:
    body = client.post("/predictions/cats", content=gray(4)).json()
    assert (body["code"], body["type"]) == (404, "ModelNotFoundException")


def test_ping_is_the_state_of_the_default_model(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert client.get("/ping").json() == {"status": "Healthy"}

    def fail(_: object) -> None:
        raise ModelNotReadyError("The model gray is still loading.")

    monkeypatch.setattr("backend.catalog.Catalog.require_ready", fail)
    response = client.get("/ping")
    assert (response.status_code, response.json()) == (503, {"status": "Unhealthy"})
