"""The task image-classification of Hugging Face."""

import base64
from collections.abc import Iterator
from typing import Any

import pytest
from starlette.testclient import TestClient

from tests.fake_models import GRAY, GrayRuntime, gray, serve, write_model

PATH = "/huggingface/gray"
TEXT = base64.b64encode(gray(4)).decode()


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    models = tmp_path_factory.mktemp("huggingface") / "models"
    write_model(models, "gray", preprocess=GRAY)
    write_model(models, "sigmoid", preprocess=GRAY, task="multi-label")
    with serve(models, GrayRuntime(), default_model="gray") as client:
        yield client


@pytest.mark.parametrize("content_type", ["", "image/png", "application/json"])
def test_raw_body_is_classified(client: TestClient, content_type: str) -> None:
    headers = {"Content-Type": content_type} if content_type else {}
    found = client.post(PATH, content=gray(4), headers=headers).json()
    assert len(found) == 5
    assert set(found[0]) == {"label", "score"}
    assert found[0]["label"] == "4"
    assert found == sorted(found, key=lambda each: -each["score"])


@pytest.mark.parametrize(
    ("parameters", "count"),
    [
        (None, 5),
        ({}, 5),
        ({"top_k": 1}, 1),
        ({"top_k": 10_000}, 10),
        ({"top_k": None, "function_to_apply": "softmax"}, 5),
    ],
)
def test_parameters_are_read_from_json(
    client: TestClient, parameters: dict[str, Any] | None, count: int
) -> None:
    body = {"inputs": TEXT} | ({} if parameters is None else {"parameters": parameters})
    found = client.post(PATH, json=body).json()
    assert len(found) == count
    assert found[0]["label"] == "4"


@pytest.mark.parametrize(
    ("parameters", "name"),
    [
        ([1], "parameters"),
        ({"top_k": 0}, "top_k"),
        ({"top_k": 2.5}, "top_k"),
        ({"top_k": True}, "top_k"),
        ({"top_k": 10**30}, "top_k"),
        ({"function_to_apply": "none"}, "function_to_apply"),
        ({"function_to_apply": ["softmax"]}, "function_to_apply"),
    ],
)
def test_invalid_parameter_is_named(client: TestClient, parameters: Any, name: str) -> None:
    response = client.post(PATH, json={"inputs": TEXT, "parameters": parameters})
    assert response.status_code == 400
    assert name in response.json()["error"]


def test_function_is_that_of_the_task(client: TestClient) -> None:
    for function, status in (("sigmoid", 200), ("softmax", 400)):
        body = {"inputs": TEXT, "parameters": {"function_to_apply": function}}
        assert client.post("/huggingface/sigmoid", json=body).status_code == status
