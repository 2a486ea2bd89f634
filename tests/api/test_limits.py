"""Bytes are counted as they arrive, also where nobody announced how many will come."""

import asyncio
from collections.abc import Iterator

import pytest
from starlette.requests import Request
from starlette.testclient import TestClient
from starlette.types import Message

from backend.api import limits
from backend.api.errors import BodyTooLargeError
from tests.api.problems import problem
from tests.pictures import encoded, seven

RAW = {"Content-Type": "image/png"}


def pieces(count: int) -> Iterator[bytes]:
    for _ in range(count):
        yield bytes(10_000)


def test_a_stream_without_a_length_is_stopped_at_the_limit(client: TestClient) -> None:
    problem(client.post("/classify", content=pieces(11), headers=RAW), 413, "image_too_large")


def test_a_stream_far_beyond_the_limit_is_not_read_to_its_end() -> None:
    received = 0

    async def receive() -> Message:
        nonlocal received
        received += 10
        return {"type": "http.request", "body": bytes(10), "more_body": received < 10_000}

    request = Request({"type": "http", "method": "POST", "headers": []}, receive)
    with pytest.raises(BodyTooLargeError):
        asyncio.run(limits.read(request, 100))
    assert 100 < received < 1_000  # so that the client still reads the answer, and no more


def test_a_length_that_is_no_number_is_malformed(client: TestClient) -> None:
    headers = RAW | {"Content-Length": "many"}
    response = client.post("/classify", content=encoded(seven()), headers=headers)
    problem(response, 400, "malformed_request")


def test_a_client_that_waits_for_100_continue_is_refused_before_it_sends(
    client: TestClient,
) -> None:
    headers = RAW | {"Expect": "100-continue", "Content-Length": "200000"}
    response = client.post("/classify", content=b"", headers=headers)
    problem(response, 413, "image_too_large")
