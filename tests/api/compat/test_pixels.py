"""The protocol of the digit tutorials: /predict, /predict_nn/ and /home."""

import base64
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import pytest
from httpx2 import Response
from numpy.typing import NDArray
from PIL import Image, ImageFilter
from starlette.testclient import TestClient

from backend.app import create_app
from backend.inference.models import artifact
from backend.inference.runtimes.fake_runtime import FakeRuntime
from backend.inference.types import Floats
from tests.api.problems import problem
from tests.api.routes.test_history import wait_until_open
from tests.fake_models import GRAY, LOCALHOST, serve, settings_for, write_model
from tests.images import encoded, seven

SEVEN = encoded(seven())
MEAN, STD = 0.1307, 0.3081


def brightness(item: Floats) -> int:
    """Return the fake model's prediction: the brightness from 0 (black) to 9 (white)."""
    return round(float((item * STD + MEAN).mean()) * 9)


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    models_dir = tmp_path_factory.mktemp("models")
    write_model(models_dir)
    with serve(models_dir, FakeRuntime(10, winner=brightness)) as client:
        yield client


def make_row(digit: int) -> list[int]:
    """Return a row of 784 pixels whose brightness is `digit`."""
    row = np.zeros(784, dtype=int)
    row[: round(784 * digit / 9)] = 255
    return [int(value) for value in row]


def encoded_gray(digit: int) -> str:
    """Return a PNG of 28x28 pixels in base64."""
    return base64.b64encode(encoded(Image.new("L", (28, 28), 25 * digit))).decode()


def argmax(row: list[float]) -> int:
    return int(np.argmax(row))


def test_input_returns_rows_of_probabilities(client: TestClient) -> None:
    rows = client.post("/predict", json={"input": [make_row(3), make_row(8)]}).json()
    assert [argmax(row) for row in rows] == [3, 8]
    assert {len(row) for row in rows} == {10}
    assert sum(rows[0]) == pytest.approx(1, abs=1e-5)


def test_five_hundred_rows_are_classified_in_order(client: TestClient) -> None:
    rows = client.post("/predict", json={"input": [make_row(i % 10) for i in range(500)]}).json()
    assert [argmax(row) for row in rows] == [i % 10 for i in range(500)]


def test_single_row_is_batch_of_one(client: TestClient) -> None:
    assert [argmax(row) for row in client.post("/predict", json={"input": make_row(4)}).json()] == [
        4
    ]


@pytest.mark.parametrize(
    "scale",
    [
        lambda pixels: (pixels / 255 - MEAN) / STD,
        lambda pixels: pixels / 255,
        lambda pixels: pixels / 127.5 - 1,
        lambda pixels: pixels,
    ],
)
def test_features_are_accepted_in_any_normalization(client: TestClient, scale: Any) -> None:
    features = scale(np.array(make_row(6), dtype=float)).reshape(1, 28, 28).tolist()
    assert client.post("/predict", json={"features": features}).json() == {"result": "6"}


def test_image_of_comma_separated_numbers(client: TestClient) -> None:
    body = {"image": ", ".join(map(str, make_row(5)))}
    assert client.post("/predict", json=body).json() == {"prediction": "5"}


@pytest.mark.parametrize("shape", [(784,), (28, 28), (28, 28, 1), (1, 28, 28)])
@pytest.mark.parametrize("scale", [1, 255])
def test_instances_of_every_shape(client: TestClient, shape: tuple[int, ...], scale: int) -> None:
    instances = (np.array([make_row(2), make_row(9)]) / scale).reshape(2, *shape).tolist()
    rows = client.post("/predict", json={"instances": instances}).json()["predictions"]
    assert [argmax(row) for row in rows] == [2, 9]


@pytest.mark.parametrize("part", ["image", "file"])
def test_uploaded_image_is_classified_as_by_classify(client: TestClient, part: str) -> None:
    response = client.post("/predict", files={part: ("a.png", SEVEN)}).json()
    assert response["filename"] == "a.png"
    assert response["prediction"] in set("0123456789")


BLACK = make_row(0)


@pytest.mark.parametrize(
    "body",
    [
        {"input": [BLACK[:-1]]},
        {"input": [BLACK, BLACK[:-1]]},
        {"input": []},
        {"input": [[]]},
        {"input": [[BLACK]]},
        {"input": [[0] * 56] * 14},
        {"input": "0,1"},
        {"input": {"a": 1}},
        {"input": None},
        {"input": 5},
        {"input": [["x"] * 784]},
        {"input": [["1"] * 784]},
        {"input": [[None] * 784]},
        {"input": [[True] * 784]},
        {"input": [[256, *BLACK[1:]]]},
        {"input": [[-1, *BLACK[1:]]]},
        {"input": [[10**30, *BLACK[1:]]]},
        {"features": [BLACK, BLACK]},
        {"features": [[300.0, -5.0, *BLACK[2:]]]},
        {"image": "0,0"},
        {"image": ",".join(["x"] * 784)},
        {"image": ",".join(["nan"] * 784)},
        {"image": [0] * 784},
        {"instances": [[[[[0]]]]]},
        {"unknown": 1},
        {},
        [],
        "text",
        7,
    ],
)
def test_invalid_pixels_return_422_without_echo(client: TestClient, body: Any) -> None:
    response = client.post("/predict", json=body)
    problem(response, 422, "invalid_pixels")
    assert len(response.content) < 500


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_non_finite_numbers_return_422(client: TestClient, number: str) -> None:
    content = '{"input": [[' + ",".join([number, *["0"] * 783]) + "]]}"
    body = problem(client.post("/predict", content=content), 422, "invalid_pixels")
    assert "finite" in body["detail"]


@pytest.mark.parametrize("content", [b"", b"{", b"\xff", b'{"input": [[0,]]}', b"[" * 5000])
def test_invalid_json_returns_400(client: TestClient, content: bytes) -> None:
    problem(client.post("/predict", content=content), 400, "malformed_request")


def test_large_invalid_body_gets_short_response(client: TestClient) -> None:
    body = json.dumps({"input": [["x"] * 784] * 500})
    response = client.post("/predict", content=body)
    problem(response, 422, "invalid_pixels")
    assert len(response.content) < 500


DRAWING = "data:image/png;base64," + base64.b64encode(SEVEN).decode()


@pytest.mark.parametrize("path", ["/predict_nn", "/predict_nn/"])
def test_drawing_in_query(client: TestClient, path: str) -> None:
    response = client.post(f"{path}?drawing_data={quote(DRAWING)}").json()
    assert set(response) == {"result", "error", "data"}
    assert response["error"] == ""
    assert len(response["data"]) == 10
    assert response["result"] == 1  # success
    assert sum(response["data"]) == pytest.approx(1, abs=1e-5)


def test_drawing_formats_give_same_result(client: TestClient) -> None:
    responses = [
        client.post("/predict_nn/", params={"drawing_data": DRAWING}),
        client.post(f"/predict_nn/?drawing_data={DRAWING}"),  # pluses arrive as spaces
        client.post("/predict_nn/", data={"drawing_data": DRAWING}),
        client.post("/predict_nn/", json={"drawing_data": DRAWING}),
        client.post("/predict_nn/", files={"drawing_data": (None, DRAWING)}),
        client.post("/predict_nn/", content=DRAWING),
    ]
    assert {response.status_code for response in responses} == {200}
    assert len({response.text for response in responses}) == 1


def canvas_drawing(levels: NDArray[np.uint8], *, has_alpha: bool = True) -> str:
    """Return the data URL of a canvas with strokes of these levels, which are also its alpha."""
    alpha = levels if has_alpha else np.full_like(levels, 255)
    canvas = Image.fromarray(np.stack((levels, levels, levels, alpha), axis=-1))
    return "data:image/png;base64," + base64.b64encode(encoded(canvas)).decode()


def test_light_strokes_on_transparent_canvas_are_read_as_on_black(client: TestClient) -> None:
    # Soft edges are darker: on white they would be outlines.
    seven_on_black = 255 - np.asarray(seven(28).convert("L").filter(ImageFilter.GaussianBlur(1)))
    drawings = [canvas_drawing(seven_on_black, has_alpha=alpha) for alpha in (True, False)]
    transparent, opaque = (
        client.post("/predict_nn/", data={"drawing_data": drawing}).json()["data"]
        for drawing in drawings
    )
    assert argmax(transparent) == argmax(opaque)
    strokes = np.zeros((28, 28, 4), dtype=np.uint8)
    strokes[4:24, 12:15] = (0, 0, 0, 255)
    dark = "data:image/png;base64," + base64.b64encode(encoded(Image.fromarray(strokes))).decode()
    assert client.post("/predict_nn/", data={"drawing_data": dark}).status_code == 200


@pytest.fixture
def photo_client(tmp_path: Path) -> Iterator[TestClient]:
    """Serve a photo model, the default, and a digit model."""
    write_model(tmp_path, "a-photos", preprocess=GRAY)
    write_model(tmp_path, "digits")
    with serve(tmp_path, default_model="a-photos") as client:
        yield client


def test_routes_use_digit_model_if_default_is_photo_model(photo_client: TestClient) -> None:
    requests: list[dict[str, Any]] = [
        {"files": {"image": ("a.png", SEVEN)}},
        {"content": SEVEN, "headers": {"Content-Type": "image/png"}},
    ]
    for request in requests:
        response = photo_client.post("/predict", **request).json()
        assert response["model"]["name"] == "digits"
    rows = photo_client.post("/predict", json={"input": [make_row(3)]})
    drawing = photo_client.post("/predict_nn/", data={"drawing_data": DRAWING})
    assert rows.status_code == drawing.status_code == 200
    named = photo_client.post("/predict?model=a-photos", files={"image": ("a.png", SEVEN)}).json()
    assert named["model"]["name"] == "a-photos"


@pytest.mark.parametrize(
    ("text", "status", "code"),
    [
        ("data:image/png;base64,????", 400, "malformed_request"),
        ("data:image/png;base64,", 400, "empty_file"),
        ("data:image/png;base64,aGVsbG8=", 415, "unsupported_image"),
        ("data:image/png;base64,aGVsbG8", 415, "unsupported_image"),
        ("data:image/png;base64,a", 400, "malformed_request"),
    ],
)
def test_invalid_drawing_returns_error(
    client: TestClient, text: str, status: int, code: str
) -> None:
    problem(client.post("/predict_nn/", data={"drawing_data": text}), status, code)


def test_missing_drawing_returns_400(client: TestClient) -> None:
    for request in ({}, {"json": {"a": 1}}, {"data": {"a": "1"}}, {"files": {"a": b"1"}}):
        response = client.post("/predict_nn/", **request)
        assert response.status_code == 400
        assert response.json()["code"] in {"missing_file", "malformed_request"}


@pytest.mark.parametrize(
    "body", ["drawing_data=&x=1", "x=1", "drawing_data=", "drawing_data=&" + "a=1&" * 1000]
)
def test_form_without_drawing_returns_400(client: TestClient, body: str) -> None:
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    response = client.post("/predict_nn/", content=body, headers=headers)
    assert response.status_code == 400
    assert response.json()["code"] in {"missing_file", "malformed_request"}


def test_drawing_is_found_among_other_fields(client: TestClient) -> None:
    response = client.post("/predict_nn/", data={"csrf": "abc", "drawing_data": DRAWING})
    assert response.status_code == 200


def test_images_of_batch_may_have_different_scales(client: TestClient) -> None:
    row = np.array(make_row(6))
    body = {"instances": [(row / 255).tolist(), row.tolist(), (row / 127.5 - 1).tolist()]}
    rows = client.post("/predict", json=body).json()["predictions"]
    assert [argmax(row) for row in rows] == [6, 6, 6]


@pytest.mark.parametrize("media_type", ["IMAGE/PNG", "application/octet-stream"])
def test_raw_image_is_classified(client: TestClient, media_type: str) -> None:
    response = client.post("/predict", content=SEVEN, headers={"Content-Type": media_type})
    assert response.json()["prediction"] in set("0123456789")


def test_home_returns_welcome_message(client: TestClient) -> None:
    assert "Hello" in client.get("/home").json()["message"]


def send_pixels(client: TestClient) -> list[Response]:
    """Send a digit in each format that needs a model for digits."""
    url = f"data:image/png;base64,{base64.b64encode(SEVEN).decode()}"
    return [
        client.post("/predict", json={"input": [make_row(4)]}),
        client.post("/predict?model=fake", json={"input": [make_row(4)]}),
        client.post("/predict", files={"image": SEVEN}),
        client.post("/predict_nn/", json={"drawing_data": url}),
        client.post("/predict_nn/?model=fake", json={"drawing_data": url}),
    ]


def test_pixels_return_503_while_the_digit_model_loads(models_dir: Path) -> None:
    gate = threading.Event()

    def slow_load(*_: object, **__: object) -> FakeRuntime:
        gate.wait()
        return FakeRuntime(10)

    app = create_app(settings_for(models_dir, timeout=0.1), slow_load)
    with TestClient(app, LOCALHOST) as client:
        try:
            responses = send_pixels(client)
        finally:
            gate.set()
    for response in responses:
        problem(response, 503, "not_ready")
        assert response.headers["retry-after"] == "1"


def test_pixels_return_503_after_the_digit_model_failed(models_dir: Path) -> None:
    write_model(models_dir, "photos", preprocess=GRAY)
    (models_dir / "fake" / artifact.ONNX).write_bytes(b"changed")
    with serve(models_dir, FakeRuntime(10)) as client:
        for response in send_pixels(client):
            problem(response, 503, "not_ready")


@pytest.mark.parametrize(
    ("form", "reason"), [("%2B" * 100_001, "escapes"), ("a" + "&x=1" * 100, "fields")]
)
def test_excessive_form_is_refused(client: TestClient, form: str, reason: str) -> None:
    response = client.post("/predict_nn/", content=f"drawing_data={form}")
    assert f"too many {reason}" in problem(response, 400, "malformed_request")["detail"]


def test_empty_drawing_in_the_query_is_refused(client: TestClient) -> None:
    response = client.post("/predict_nn/?drawing_data=", content=b"AAAA")
    problem(response, 422, "invalid_parameter")


@pytest.mark.parametrize(
    ("body", "digits"),
    [
        ({"instances": [{"b64": encoded_gray(3)}, {"image": {"b64": encoded_gray(8)}}]}, [3, 8]),
        ({"image": f"data:image/png;base64,{encoded_gray(3)}"}, [3]),
        ({"image": quote(f"data:image/png;base64,{encoded_gray(3)}", safe="")}, [3]),
    ],
)
def test_json_may_contain_images(
    client: TestClient, body: dict[str, Any], digits: list[int]
) -> None:
    response = client.post("/predict", json=body)
    assert response.status_code == 200
    if "image" in body:
        assert response.json()["prediction"] in set("0123456789")
    else:
        assert len(response.json()["predictions"]) == len(digits)


@pytest.mark.parametrize(
    "body",
    [
        {"instances": [{"b64": "?"}]},
        {"instances": [{"b64": encoded_gray(3)}, make_row(3)]},
        {"instances": [{"b64": encoded_gray(3)}, {}]},
        {"instances": [{}]},
        {"image": "data:image/png;base64,?"},
        {"image": "data:"},
    ],
)
def test_invalid_image_in_json_is_malformed(client: TestClient, body: dict[str, Any]) -> None:
    problem(client.post("/predict", json=body), 400, "malformed_request")


@pytest.mark.parametrize("safe", ["/", ":;,/", ""])
def test_data_url_may_be_percent_encoded(client: TestClient, safe: str) -> None:
    expected = client.post("/predict_nn/", content=DRAWING).json()
    assert client.post("/predict_nn/", content=quote(DRAWING, safe=safe)).json() == expected
    body = {"drawing_data": quote(DRAWING, safe=safe)}
    assert client.post("/predict_nn/", json=body).json() == expected
    raw = f"data:image/png,{quote(SEVEN)}"
    assert client.post("/predict_nn/", json={"drawing_data": raw}).json() == expected


@pytest.mark.parametrize("field", ["drawing_data", "file", "image"])
def test_drawing_may_be_a_file(client: TestClient, field: str) -> None:
    expected = client.post("/predict_nn/", content=DRAWING).json()
    assert client.post("/predict_nn/", files={field: ("a.png", SEVEN)}).json() == expected
    text = client.post("/predict_nn/", files={field: ("a.txt", DRAWING.encode())})
    assert text.json() == expected


def test_store_false_keeps_images_out_of_the_history(models_dir: Path) -> None:
    runtime = FakeRuntime(10, winner=brightness)
    with serve(models_dir, runtime, history=True, history_open=True) as client:
        wait_until_open(client)
        requests: list[dict[str, Any]] = [
            {"json": {"instances": [{"b64": encoded_gray(9)}]}},
            {"files": {"image": SEVEN}},
        ]
        for stored, query in ((0, {"store": "false"}), (2, {})):
            for request in requests:
                assert client.post("/predict", params=query, **request).status_code == 200
            assert len(client.get("/history").json()["answers"]) == stored
