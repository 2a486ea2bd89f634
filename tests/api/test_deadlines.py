"""A request says how long it waits, and nobody works for a client that has gone."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from tests.api.asgi import GONE, body, running
from tests.api.problems import problem
from tests.fake_models import GRAY, GrayRuntime, gray, serve, write_model
from tests.inference.work import until

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


def test_a_request_that_waits_less_is_answered_504_earlier(
    gray_models: Path, runtime: GrayRuntime
) -> None:
    with serve(gray_models, runtime, timeout=3600) as client:
        assert client.post("/classify", content=gray(1), headers=RAW).status_code == 200
        runtime.hold()
        headers = RAW | {"X-Request-Timeout": "0.1"}
        answer = client.post("/classify", content=gray(1), headers=headers)
        assert "0.1 s" in problem(answer, 504, "deadline_passed")["detail"]
        runtime.release()


@pytest.mark.parametrize("timeout", ["3600", "inf", "1e999"])
def test_nobody_waits_longer_than_the_service_allows(
    gray_models: Path, runtime: GrayRuntime, timeout: str
) -> None:
    with serve(gray_models, runtime, timeout=0.2) as client:
        client.post("/classify", content=gray(1), headers=RAW)
        runtime.hold()
        headers = RAW | {"X-Request-Timeout": timeout}
        answer = client.post("/classify", content=gray(1), headers=headers)
        assert "0.2 s" in problem(answer, 504, "deadline_passed")["detail"]
        runtime.release()


@pytest.mark.parametrize("timeout", ["0", "-1", "-inf", "nan", "", "soon", "1 s", "1,5"])
@pytest.mark.parametrize("path", ["/classify", "/classify?top_k=1", "/classify/batch", "/predict"])
def test_what_is_no_positive_number_is_refused(client: TestClient, path: str, timeout: str) -> None:
    headers = {"X-Request-Timeout": timeout}
    answer = client.post(path, files={"file": gray(1)}, headers=headers)
    assert "X-Request-Timeout" in problem(answer, 422, "invalid_parameter")["detail"]


@pytest.mark.anyio
@pytest.mark.parametrize("query", ["", "top_k=1"])
@pytest.mark.parametrize("side", [8, 80])
async def test_a_client_that_leaves_is_not_worked_for_and_its_mates_are_right(
    gray_models: Path, runtime: GrayRuntime, query: str, side: int
) -> None:
    async with running(gray_models, runtime, timeout=3600, threads=1) as service:
        runtime.hold()
        first = service.post(body(gray(1, side)), query=query)
        await until(lambda: runtime.batches == [[1]])
        leaving = service.post(body(gray(2, side)), query=query)
        await until(lambda: leaving.asked == 2)  # the body, and then whether it still is there
        mates = [service.post(body(gray(digit, side)), query=query) for digit in (3, 4)]
        await until(lambda: all(mate.asked == 2 for mate in mates))
        leaving.say(GONE)
        assert (await leaving.answer())[0] == 499
        runtime.release()
        for caller, digit in zip([first, *mates], "134", strict=True):
            status, _, answer = await caller.answer()
            assert (status, answer["prediction"]) == (200, digit)
    assert 2 not in [digit for digits in runtime.batches for digit in digits]


@pytest.mark.anyio
async def test_a_client_that_has_gone_is_answered_nothing(
    gray_models: Path, runtime: GrayRuntime
) -> None:
    async with running(gray_models, runtime, timeout=3600) as service:
        runtime.hold()
        leaving = service.post(body(gray(1)))
        await until(lambda: runtime.batches == [[1]])
        leaving.say(GONE)
        status, headers, answer = await leaving.answer()
        assert (status, answer) == (499, None)
        assert headers["content-length"] == "0"
        assert "x-request-id" in headers
        runtime.release()
