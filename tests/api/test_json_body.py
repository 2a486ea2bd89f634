"""JSON bodies: what parsing them would cost is bounded before they are parsed."""

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import orjson
import pytest
from starlette.testclient import TestClient

from backend.api import json_body
from backend.api.compat import pixel_inputs
from backend.api.errors import BodyTooLargeError, MalformedRequestError
from backend.api.json_body import parse_json, run_in_parser
from backend.inference.preprocessing.digit_crop import DigitPreprocess
from tests.api.asgi import body, run_service
from tests.api.problems import problem
from tests.fake_models import GrayRuntime, serve, write_model

MIB = 1 << 20
JSON = {"Content-Type": "application/json"}
SPEC = DigitPreprocess()

# Each of the last five exceeds one limit only.
BOMBS = {
    "arrays": b"[[]" + b",[]" * 2_000_000 + b"]",
    "open arrays": b"[" * 2_000_000,
    "objects": b"[{}" + b",{}" * 300_000 + b"]",
    "fields": b'{"a":0' + b',"a":0' * 300_000 + b"}",
    "values": b"[0" + b",0" * 1_000_000 + b"]",
    "strings": b'"' * 1_000_000,
}


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    models = tmp_path_factory.mktemp("json") / "models"
    write_model(models)
    with serve(models) as client:
        yield client


@pytest.fixture
def unparsed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the test fail if a body is parsed."""

    def fail(_: bytes) -> None:
        raise AssertionError("the body was parsed")

    monkeypatch.setattr(orjson, "loads", fail)


@pytest.mark.usefixtures("unparsed")
@pytest.mark.parametrize("name", BOMBS)
def test_bomb_is_refused_before_it_is_parsed(client: TestClient, name: str) -> None:
    response = client.post("/predict", content=BOMBS[name], headers=JSON)
    detail = problem(response, 413, "body_too_large")["detail"]
    assert any(limit in detail for limit in ("1,000 ", "100,000 ", "400,000 ", "802,000 "))


@pytest.mark.usefixtures("unparsed")
@pytest.mark.parametrize("name", BOMBS)
def test_small_bomb_for_a_drawing_is_refused(client: TestClient, name: str) -> None:
    content = b'{"drawing_data": ' + BOMBS[name][:500_000] + b"}"
    problem(client.post("/predict_nn/", content=content, headers=JSON), 413, "body_too_large")


@pytest.mark.parametrize(("path", "limit"), [("/predict", 8 * MIB), ("/predict_nn/", MIB)])
def test_size_is_limited_for_each_route(client: TestClient, path: str, limit: int) -> None:
    at_limit = client.post(path, content=b" " * limit, headers=JSON)
    assert at_limit.json()["code"] != "body_too_large"
    response = client.post(path, content=b" " * (limit + 1), headers=JSON)
    assert f"{limit:,} bytes" in problem(response, 413, "body_too_large")["detail"]


def test_size_of_a_form_with_a_drawing_is_limited(client: TestClient) -> None:
    response = client.post("/predict_nn/", files={"drawing_data": b"A" * (MIB + 1)})
    problem(response, 413, "body_too_large")


@pytest.mark.parametrize(
    "content",
    [
        *(b"", b"\xef\xbb\xbf{}", b"\xff", b"[1,]", b'"\\ud800"', b"{" * 900),
        *(b"[" * 5_000, b"9" * 400, b"0" * 100, b"+1", b"\0", b'{"input": [1]', b"'a'"),
    ],
)
def test_invalid_json_returns_400(client: TestClient, content: bytes) -> None:
    response = client.post("/predict", content=content, headers=JSON)
    problem(response, 400, "malformed_request")
    assert len(response.content) < 500


@pytest.mark.parametrize(
    "number",
    ["9" * 300, "1e308", "0." + "1" * 9_000, "1e-999", "-1", "256", "true", "null", '"0"', "[0]"],
)
def test_unusual_number_returns_422(client: TestClient, number: str) -> None:
    content = f'{{"input": [{",".join([number] + ["0"] * 783)}]}}'.encode()
    response = client.post("/predict", content=content, headers=JSON)
    expected = {422} if number not in {"0." + "1" * 9_000, "1e-999"} else {200}
    assert response.status_code in expected


@pytest.mark.parametrize("number", ["1_0", "+5", "٣", "nan", "inf", "0x1", "", "1e999", "9" * 500])
def test_string_of_pixels_has_numbers_of_json(client: TestClient, number: str) -> None:
    response = client.post("/predict", json={"image": ",".join([number] + ["0"] * 783)})
    problem(response, 422, "invalid_pixels")


def test_five_hundred_rows_of_long_numbers_are_accepted() -> None:
    rows = [[-0.4242129623889923] * 784] * 500
    content = orjson.dumps({"instances": rows}).replace(b",", b", ")
    assert len(content) < pixel_inputs.MAX_BYTES
    _, inputs = pixel_inputs.parse_pixels(content, SPEC)
    assert isinstance(inputs, np.ndarray)
    assert inputs.shape == (500, 1, 28, 28)


def test_limits_are_inclusive() -> None:
    assert len(parse_json(b"[" + b"0," * 9 + b"0]", max_values=9)) == 10
    with pytest.raises(BodyTooLargeError):
        parse_json(b"[" + b"0," * 10 + b"0]", max_values=9)
    assert parse_json(b"[[],[]]", max_arrays=3) == [[], []]
    with pytest.raises(BodyTooLargeError):
        parse_json(b"[[],[],[]]", max_arrays=3)
    with pytest.raises(MalformedRequestError):
        parse_json(b"[")


@pytest.mark.anyio
async def test_one_body_is_parsed_at_a_time() -> None:
    running, most = 0, 0
    lock = threading.Lock()

    def parse() -> None:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        threading.Event().wait(0.01)
        with lock:
            running -= 1

    await asyncio.gather(*(run_in_parser(parse) for _ in range(5)))
    assert most == 1


@pytest.mark.anyio
@pytest.mark.parametrize(("path", "content"), [("/predict", b"{}"), ("/predict_nn/", b"AAAA")])
async def test_parsing_counts_towards_the_deadline(
    tmp_path: Path, path: str, content: bytes
) -> None:
    write_model(tmp_path / "models")
    release = threading.Event()
    blocked = json_body._PARSER.submit(release.wait, 60)
    async with run_service(tmp_path / "models", GrayRuntime(), timeout=0.5) as service:
        request = service.post(body(content), path=path, content_type="application/json")
        status, _, problem_body = await request.response()
        release.set()
    assert (status, problem_body["code"]) == (504, "deadline_passed")
    assert blocked.result()
