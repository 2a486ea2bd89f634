"""Request deadlines, and cancellation of requests whose client disconnected."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from tests.api.asgi import DISCONNECT, body, run_service
from tests.api.problems import problem
from tests.fake_models import GRAY, GrayRuntime, gray, serve, write_model
from tests.inference.helpers import wait_until

RAW = {"Content-Type": "image/png"}


@pytest.fixture
def gray_models(tmp_path: Path) -> Path:
    write_model(tmp_path / "gray-models", "gray", preprocess=GRAY)
    return tmp_path / "gray-models"


@pytest.fixture
def runtime() -> Iterator[GrayRuntime]:
    runtime = GrayRuntime()
    yield runtime
    runtime.release()


def test_request_timeout_header_shortens_deadline(gray_models: Path, runtime: GrayRuntime) -> None:
    with serve(gray_models, runtime, timeout=3600) as client:
        assert client.post("/classify", content=gray(1), headers=RAW).status_code == 200
        runtime.hold()
        headers = RAW | {"X-Request-Timeout": "0.1"}
        response = client.post("/classify", content=gray(1), headers=headers)
        assert "0.1 s" in problem(response, 504, "deadline_passed")["detail"]
        runtime.release()


@pytest.mark.parametrize("timeout", ["3600", "3600.5", "1e9"])
def test_request_timeout_is_limited_by_setting(
    gray_models: Path, runtime: GrayRuntime, timeout: str
) -> None:
    with serve(gray_models, runtime, timeout=0.2) as client:
        client.post("/classify", content=gray(1), headers=RAW)
        runtime.hold()
        headers = RAW | {"X-Request-Timeout": timeout}
        response = client.post("/classify", content=gray(1), headers=headers)
        assert "0.2 s" in problem(response, 504, "deadline_passed")["detail"]
        runtime.release()


@pytest.mark.parametrize(
    "timeout",
    [
        "0",
        "-1",
        "-inf",
        "nan",
        "",
        "soon",
        "1 s",
        "1,5",
        "1_0",
        "+5",
        "inf",
        "1e999",
        ".5",
        "0x1",
        "9" * 5000,
    ],
)
@pytest.mark.parametrize("path", ["/classify", "/classify?top_k=1", "/classify/batch", "/predict"])
def test_invalid_request_timeout_gets_422(client: TestClient, path: str, timeout: str) -> None:
    headers = {"X-Request-Timeout": timeout}
    response = client.post(path, files={"file": gray(1)}, headers=headers)
    assert "X-Request-Timeout" in problem(response, 422, "invalid_parameter")["detail"]


def test_repeated_request_timeout_gets_422(client: TestClient) -> None:
    headers = [("X-Request-Timeout", "5"), ("X-Request-Timeout", "5")]
    response = client.post("/classify", files={"file": gray(1)}, headers=headers)
    problem(response, 422, "invalid_parameter")


@pytest.mark.anyio
@pytest.mark.parametrize("query", ["", "top_k=1"])
@pytest.mark.parametrize("side", [8, 80])
async def test_image_of_disconnected_client_is_not_classified(
    gray_models: Path, runtime: GrayRuntime, query: str, side: int
) -> None:
    async with run_service(gray_models, runtime, timeout=3600, threads=1) as service:
        runtime.hold()
        first = service.post(body(gray(1, side)), query=query)
        await wait_until(lambda: runtime.batches == [[1]])
        disconnecting = service.post(body(gray(2, side)), query=query)
        await wait_until(
            lambda: disconnecting.receive_calls == 2
        )  # for the body, and for a disconnect
        others = [service.post(body(gray(digit, side)), query=query) for digit in (3, 4)]
        await wait_until(lambda: all(other.receive_calls == 2 for other in others))
        disconnecting.send(DISCONNECT)
        assert (await disconnecting.response())[0] == 499
        runtime.release()
        for request, digit in zip([first, *others], "134", strict=True):
            status, _, content = await request.response()
            assert (status, content["prediction"]) == (200, digit)
    assert 2 not in [digit for digits in runtime.batches for digit in digits]


@pytest.mark.anyio
async def test_disconnected_client_gets_empty_499(gray_models: Path, runtime: GrayRuntime) -> None:
    async with run_service(gray_models, runtime, timeout=3600) as service:
        runtime.hold()
        disconnecting = service.post(body(gray(1)))
        await wait_until(lambda: runtime.batches == [[1]])
        disconnecting.send(DISCONNECT)
        status, headers, content = await disconnecting.response()
        assert (status, content) == (499, None)
        assert headers["content-length"] == "0"
        assert "x-request-id" in headers
        runtime.release()
