"""Open Inference Protocol over HTTP."""

import base64
import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from httpx2 import Response
from starlette.testclient import TestClient

from backend.api.compat.inference_requests import BINARY_SIZE, HEADER_LENGTH
from backend.api.compat.inference_tensors import MAX_IMAGES, MAX_ROWS
from backend.app import create_app
from backend.inference.preprocessing.photos import PhotoPreprocess
from backend.inference.types import Floats
from tests.api.compat.oip import (
    binary_body,
    gray_rows,
    infer,
    length_prefixed,
    outputs,
    tensor,
)
from tests.api.routes.test_auto import KNOWN, load
from tests.api.routes.test_history import wait_until_open
from tests.fake_models import (
    CALIBRATION,
    GRAY,
    LOCALHOST,
    GrayRuntime,
    gray,
    serve,
    settings_for,
    write_model,
)

# A model whose own input is pixels of 0 to 255.
PIXELS = PhotoPreprocess(resize=None, crop=(8, 8), channels=1, mean=(0,), std=(1 / 255,))


def base64_images(*digits: int, **fields: Any) -> dict[str, Any]:
    data = [base64.b64encode(gray(digit)).decode() for digit in digits]
    return {"name": "image", "datatype": "BYTES", "shape": [len(data)], "data": data} | fields


def error(response: Response, status: int = 400) -> str:
    """Check the shape of an error, and return its text."""
    body = response.json()
    assert (response.status_code, list(body)) == (status, ["error"]), body
    text: str = body["error"]
    return text


def post_binary(client: TestClient, *args: Any, model: str = "gray", **fields: Any) -> Response:
    content, headers = binary_body(*args, **fields)
    return client.post(f"/v2/models/{model}/infer", content=content, headers=headers)


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """A client of two models that classify `gray` images."""
    models = tmp_path_factory.mktemp("oip") / "models"
    write_model(models, "gray", version="3", preprocess=GRAY)
    write_model(models, "pixels", preprocess=PIXELS)
    with serve(models, GrayRuntime(), max_bytes=100_000, max_batch_bytes=400_000) as client:
        yield client


@pytest.fixture
def auto(tmp_path: Path) -> Iterator[TestClient]:
    """A client of `low`, which knows 0 to 4, `high`, which knows 5 to 7, and `other`."""
    for name in KNOWN:
        write_model(tmp_path / "models", name, preprocess=GRAY, calibration=CALIBRATION)
    app = create_app(settings_for(tmp_path / "models", auto_models="low,high"), load)
    with TestClient(app, base_url=LOCALHOST) as client:
        yield client


def test_server_and_models_describe_themselves(client: TestClient) -> None:
    assert client.get("/v2").json()["extensions"] == ["binary_tensor_data", "classification"]
    for path in ("/v2/models/gray", "/v2/models/gray/versions/3"):
        metadata = client.get(path).json()
        assert (metadata["name"], metadata["versions"]) == ("gray", ["3"])
        shapes = [(each["name"], each["datatype"], each["shape"]) for each in metadata["inputs"]]
        assert shapes == [("input", "FP32", [-1, 1, 8, 8]), ("image", "BYTES", [-1])]
        named = [(each["name"], each["shape"]) for each in metadata["outputs"]]
        assert named == [("probabilities", [-1, 10]), ("label", [-1])]


def test_readiness_is_that_of_service_and_model(client: TestClient) -> None:
    infer(client, "gray", base64_images(1))
    assert client.get("/v2/health/live").json() == {"live": True}
    assert client.get("/v2/health/ready").json() == {"ready": True}
    for path in ("models/gray/ready", "models/gray/versions/3/ready"):
        assert client.get(f"/v2/{path}").json() == {"name": "gray", "ready": True}
    for path in ("models/none/ready", "models/gray/versions/4/ready", "models/gray/versions/4"):
        assert "Available models: gray, pixels" in error(client.get(f"/v2/{path}"), 404)


def test_repository_lists_models_and_refuses_changes(client: TestClient) -> None:
    for model in ("gray", "pixels"):  # they are verified now
        infer(client, model, base64_images(0))
    models = client.post("/v2/repository/index", json={"ready": True}).json()
    assert [(each["name"], each["state"]) for each in models] == [
        ("gray", "READY"),
        ("pixels", "READY"),
    ]
    assert client.post("/v2/repository/index").status_code == 200
    for action in ("load", "unload"):
        response = client.post(f"/v2/repository/models/gray/{action}")
        assert "PRISM_MODELS_DIR" in error(response)


@pytest.mark.parametrize("is_flat", [False, True])
def test_tensor_in_json_is_classified(client: TestClient, is_flat: bool) -> None:
    rows = gray_rows(3, 8, 0)
    data = rows.ravel() if is_flat else rows
    response = infer(client, "gray", tensor(rows, data=data.tolist()), id="abc")
    body = response.json()
    assert (body["id"], body["model_name"], body["model_version"]) == ("abc", "gray", "3")
    found = outputs(response)
    assert found["label"] == ["3", "8", "0"]
    assert found["probabilities"].argmax(axis=1).tolist() == [3, 8, 0]


@pytest.mark.parametrize(("datatype", "dtype"), [("FP32", "<f4"), ("FP16", "<f2"), ("FP64", "<f8")])
def test_binary_tensor_is_classified(client: TestClient, datatype: str, dtype: str) -> None:
    raw = gray_rows(*range(10)).astype(dtype).tobytes()
    response = post_binary(client, raw, [10, 1, 8, 8], datatype=datatype)
    assert outputs(response)["label"] == list("0123456789")


def test_large_binary_batch_keeps_its_order(client: TestClient) -> None:
    digits = [number % 10 for number in range(1200)]  # more than the event loop parses
    raw = gray_rows(*digits).tobytes()
    response = post_binary(client, raw, [1200, 1, 8, 8])
    assert outputs(response)["label"] == [str(digit) for digit in digits]


def test_pixels_are_for_models_that_take_them(client: TestClient) -> None:
    rows = np.zeros((1, 1, 8, 8), np.uint8)
    assert post_binary(
        client, rows.tobytes(), [1, 1, 8, 8], datatype="UINT8", model="pixels"
    ).is_success
    refused = post_binary(client, rows.tobytes(), [1, 1, 8, 8], datatype="UINT8")
    assert "the datatype must be FP32 or FP16 or FP64" in error(refused)
    too_large = tensor(rows.astype(int) + 300, datatype="UINT8")
    assert "0 to 255" in error(infer(client, "pixels", too_large))


def test_images_give_the_probabilities_of_classify(client: TestClient) -> None:
    expected = client.post("/classify?model=gray", files={"file": gray(4)}).json()
    files = length_prefixed(gray(4), gray(7))
    responses = [
        infer(client, "gray", base64_images(4, 7)),
        infer(client, "gray", base64_images(4, 7, shape=[2, 1])),
        post_binary(client, files, [2], name="image", datatype="BYTES"),
        infer(client, "gray", tensor(gray_rows(4, 7))),
    ]
    for response in responses:
        found = outputs(response)
        assert found["label"] == ["4", "7"]
        assert np.abs(found["probabilities"][0] - expected["probabilities"]).max() < 1e-6


def test_base64_in_binary_data_is_decoded_if_it_is_an_image(client: TestClient) -> None:
    for content, status in ((gray(4), 200), (b"no image", 415)):
        raw = length_prefixed(base64.b64encode(content))
        response = post_binary(client, raw, [1], name="image", datatype="BYTES")
        assert response.status_code == status
        assert status != 200 or outputs(response)["label"] == ["4"]


def test_binary_outputs_follow_the_json(client: TestClient) -> None:
    requested = [
        {"name": "probabilities", "parameters": {"binary_data": True}},
        {"name": "label", "parameters": {"binary_data": False}},
    ]
    rows = tensor(gray_rows(2, 9))
    response = infer(client, "gray", rows, outputs=requested)
    assert response.headers["content-type"] == "application/octet-stream"
    found = outputs(response)
    assert found["probabilities"].shape == (2, 10)
    assert found["label"] == ["2", "9"]
    everything = infer(client, "gray", rows, parameters={"binary_data_output": True})
    assert outputs(everything)["label"] == length_prefixed(b"2", b"9")


@pytest.mark.parametrize("is_binary", [False, True])
def test_classification_extension_returns_labels(client: TestClient, is_binary: bool) -> None:
    parameters = {"classification": 2, "binary_data": is_binary}
    output = {"name": "probabilities", "parameters": parameters}
    response = infer(client, "gray", tensor(gray_rows(6)), outputs=[output])
    expected = ["0.998891:6:6", "0.000123:0:0"]
    found = outputs(response)["probabilities"]
    assert found == (length_prefixed(*map(str.encode, expected)) if is_binary else expected)


def test_more_classes_than_labels_are_all_labels(client: TestClient) -> None:
    output = {"name": "probabilities", "parameters": {"classification": 1000}}
    response = infer(client, "gray", tensor(gray_rows(6)), outputs=[output])
    assert response.json()["outputs"][0]["shape"] == [1, 10]


def test_auto_returns_labels_of_the_model_that_answered(auto: TestClient) -> None:
    assert [each["name"] for each in auto.get("/v2/models/auto").json()["inputs"]] == ["image"]
    alone = outputs(infer(auto, "auto", base64_images(6)))
    assert (alone["label"], alone["model"]) == (["6"], ["high"])
    assert alone["probabilities"].shape == (1, 10)
    mixed = infer(auto, "auto", base64_images(6, 1))
    assert outputs(mixed) == {"label": ["6", "1"], "model": ["high", "low"]}
    assert mixed.json()["model_name"] == "auto"
    requested = infer(auto, "auto", base64_images(6, 1), outputs=[{"name": "probabilities"}])
    assert "Send one image at a time" in error(requested)


def test_bad_image_is_named_by_its_position(client: TestClient) -> None:
    broken = base64.b64encode(gray(1)[:40]).decode()
    images = base64_images(1, 2)
    images["data"][1] = broken
    assert error(infer(client, "gray", images)).startswith("image[1]: ")
    text = base64_images(1, data=[base64.b64encode(b"hello").decode()])
    assert "not an image" in error(infer(client, "gray", text), 415)
    large = base64_images(1, data=[base64.b64encode(bytes(100_001)).decode()])
    assert "100,000 bytes" in error(infer(client, "gray", large), 413)


ROWS = gray_rows(1)
RAW = ROWS.tobytes()
HOSTILE_TENSORS: dict[str, dict[str, Any]] = {
    "no name": tensor(ROWS, name=None),
    "unknown name": tensor(ROWS, name="x" * 10_000),
    "unknown datatype": tensor(ROWS, datatype="INT64"),
    "datatype is a number": tensor(ROWS) | {"datatype": 1},
    "no shape": tensor(ROWS, shape=None),
    "huge batch": tensor(ROWS, shape=[10**9, 1, 8, 8]),
    "more rows than allowed": tensor(ROWS, shape=[MAX_ROWS + 1, 1, 8, 8]),
    "no rows": tensor(ROWS, shape=[0, 1, 8, 8], data=[]),
    "negative size": tensor(ROWS, shape=[-1, 1, 8, 8]),
    "product that overflows": tensor(ROWS, shape=[2**30, 2**30, 2**30, 2**30]),
    "size above 64 bits": tensor(ROWS, shape=[10**15, 1, 8, 8]),
    "size is true": tensor(ROWS, shape=[True, 1, 8, 8]),
    "size is a float": tensor(ROWS, shape=[1.0, 1, 8, 8]),
    "many dimensions": tensor(ROWS, shape=[1] * 900),
    "another order": tensor(ROWS, shape=[1, 8, 8, 1]),
    "shape of another batch": tensor(ROWS, shape=[2, 1, 8, 8]),
    "no dimensions": tensor(ROWS, shape=[]),
    "ragged": tensor(ROWS, data=[[[[0.0] * 8] * 7 + [[0.0] * 7]]]),
    "deep": tensor(ROWS, data=[[[[[[[0.0]]]]]]]),
    "text": tensor(ROWS, data=["0.5"] * 64),
    "truth values": tensor(ROWS, data=[True] * 64),
    "null": tensor(ROWS, data=[None] * 64),
    "objects": tensor(ROWS, data=[{}] * 64),
    "not a list": tensor(ROWS, data="0" * 64),
    "above FP32": tensor(ROWS, data=[1e39] * 64),
    "data and binary size": tensor(ROWS, parameters={BINARY_SIZE: 256}),
    "shared memory": tensor(ROWS, parameters={"shared_memory_region": "x"}),
    "parameters are a list": tensor(ROWS, parameters=[]),
    "image with two dimensions": base64_images(1, shape=[1, 2]),
    "many images": base64_images(1, shape=[MAX_IMAGES + 1]),
    "fewer images": base64_images(1, shape=[2]),
    "image is a number": base64_images(1, data=[1]),
    "image is not base64": base64_images(1, data=["?"]),
    "image is not ASCII": base64_images(1, data=["é"]),
}


@pytest.mark.parametrize("name", HOSTILE_TENSORS)
def test_hostile_tensor_is_refused(client: TestClient, name: str) -> None:
    text = error(infer(client, "gray", HOSTILE_TENSORS[name]))
    assert text.endswith((".", "]."))
    assert len(text) < 500


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b"null",
        b"{",
        b"{}",
        b'{"inputs": []}',
        b'{"inputs": {}}',
        b'{"inputs": [1]}',
        b'{"inputs": ' + b"[" * 2000 + b"]" * 2000 + b"}",
        b'{"inputs": [{"name": "input", "datatype": "FP32", "shape": [1], "data": [NaN]}]}',
        b'{"inputs": [{"name": "input", "datatype": "FP32", "shape": [1], "data": [-Infinity]}]}',
        b"\xff\xfe",
    ],
)
def test_hostile_json_is_refused(client: TestClient, content: bytes) -> None:
    error(client.post("/v2/models/gray/infer", content=content))


@pytest.mark.parametrize("count", [100_001, 1_000_001])
def test_excessive_json_is_refused(client: TestClient, count: int) -> None:
    character = b"[" if count < 1_000_000 else b","
    response = client.post("/v2/models/gray/infer", content=character * count)
    assert "too many" in error(response, 413)


@pytest.mark.parametrize("length", ["", "x", "-1", "0", "1", "99999999", "9" * 30, "1, 2"])
def test_wrong_header_length_is_refused(client: TestClient, length: str) -> None:
    content, _ = binary_body(RAW, [1, 1, 8, 8])
    headers = {HEADER_LENGTH: length}
    error(client.post("/v2/models/gray/infer", content=content, headers=headers))


@pytest.mark.parametrize("size", [0, 255, 257, -1, 2**40, 2**64 - 1, 1.5, "256", None, True])
def test_wrong_binary_size_is_refused(client: TestClient, size: object) -> None:
    described: dict[str, Any] = {"name": "input", "datatype": "FP32", "shape": [1, 1, 8, 8]}
    described["parameters"] = {BINARY_SIZE: size}
    content, headers = binary_body(RAW, [], inputs=[described])
    error(client.post("/v2/models/gray/infer", content=content, headers=headers))


def test_binary_size_needs_the_header(client: TestClient) -> None:
    content, _ = binary_body(b"", [0, 1, 8, 8])
    assert HEADER_LENGTH in error(client.post("/v2/models/gray/infer", content=content))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", ["<f4", "<f2", "<f8"])
def test_binary_number_that_is_not_finite_is_refused(
    client: TestClient, value: float, dtype: str
) -> None:
    rows = np.zeros((2, 1, 8, 8), dtype)
    rows[1, 0, 7, 7] = value
    datatype = {"<f4": "FP32", "<f2": "FP16", "<f8": "FP64"}[dtype]
    response = post_binary(client, rows.tobytes(), [2, 1, 8, 8], datatype=datatype)
    assert "not finite" in error(response)


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"\x01\x00\x00",
        b"\xff\xff\xff\xff" + gray(1),
        length_prefixed(gray(1)) + b"x",
        length_prefixed(gray(1), gray(2)),
        gray(1),
    ],
)
def test_binary_images_whose_lengths_do_not_fit_are_refused(client: TestClient, raw: bytes) -> None:
    error(post_binary(client, raw, [1], name="image", datatype="BYTES"))


@pytest.mark.parametrize(
    "fields",
    [
        {"outputs": [{"name": "none"}]},
        {"outputs": [{"name": "label"}, {"name": "label"}]},
        {"outputs": [{}]},
        {"outputs": "label"},
        {"outputs": [{"name": "label", "parameters": {"classification": 1}}]},
        {"outputs": [{"name": "probabilities", "parameters": {"classification": 0}}]},
        {"outputs": [{"name": "probabilities", "parameters": {"classification": "3"}}]},
        {"outputs": [{"name": "probabilities", "parameters": {"binary_data": "yes"}}]},
        {"parameters": {"binary_data_output": 1}},
        {"parameters": 3},
        {"id": 5},
        {"inputs": [tensor(ROWS), tensor(ROWS)]},
        {"inputs": [tensor(ROWS), base64_images(1)]},
        {"inputs": [tensor(ROWS)] * 17},
    ],
)
def test_hostile_fields_are_refused(client: TestClient, fields: dict[str, Any]) -> None:
    error(infer(client, "gray", tensor(ROWS), **fields))


def test_compressed_and_oversized_bodies_are_refused(client: TestClient) -> None:
    content, headers = binary_body(RAW, [1, 1, 8, 8])
    compressed = headers | {"Content-Encoding": "gzip"}
    response = client.post("/v2/models/gray/infer", content=content, headers=compressed)
    assert "uncompressed" in error(response, 415)
    response = post_binary(client, bytes(2_000_000), [1, 1, 8, 8])
    assert "larger" in error(response, 413)


def test_numbers_for_which_the_model_returns_none_are_refused(tmp_path: Path) -> None:
    class Overflowing(GrayRuntime):
        def __call__(self, batch: Floats) -> Floats:
            with np.errstate(over="ignore"):
                outputs: Floats = batch.reshape(len(batch), -1)[:, :10] * np.float32(1e38)
            return outputs

    write_model(tmp_path / "models", "gray", preprocess=GRAY)
    with serve(tmp_path / "models", Overflowing()) as client:
        large = tensor(np.full((1, 1, 8, 8), 1e38, np.float32))
        assert "much larger than those of images" in error(infer(client, "gray", large), 422)


def test_tensors_need_a_named_model(auto: TestClient) -> None:
    assert "the model has no such input" in error(infer(auto, "auto", tensor(gray_rows(1))))


def test_probes_need_no_key_and_the_rest_needs_one(tmp_path: Path) -> None:
    write_model(tmp_path / "models", "gray", preprocess=GRAY)
    entry = f"page={hashlib.sha256(b'secret').hexdigest()};scopes=history"
    with serve(tmp_path / "models", GrayRuntime(), api_keys=entry) as client:
        assert client.get("/v2/health/live").status_code == 200
        assert client.get("/v2/health/ready").status_code in (200, 503)
        assert "API key" in error(client.get("/v2"), 401)
        client.headers["X-API-Key"] = "secret"
        assert "scope" in error(infer(client, "gray", tensor(ROWS)), 403)


def test_images_are_stored_in_the_history_unless_the_client_says_no(tmp_path: Path) -> None:
    write_model(tmp_path / "models", "gray", preprocess=GRAY)
    settings: dict[str, Any] = {"history": True, "history_open": True}
    with serve(tmp_path / "models", GrayRuntime(), **settings) as client:
        wait_until_open(client)
        infer(client, "gray", base64_images(1, 2))
        infer(client, "gray", base64_images(3), parameters={"store": False})
        items = client.get("/history").json()["answers"]
        assert sorted(item["prediction"] for item in items) == ["1", "2"]
