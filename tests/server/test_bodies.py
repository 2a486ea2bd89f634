"""Framing of bodies: where a body ends, and what a chunked body may contain besides data."""

import pytest

from backend.api import errors
from backend.server.bodies import (
    MAX_CHUNK_LINE_BYTES,
    MAX_TRAILER_BYTES,
    Body,
    ChunkedBody,
    LengthBody,
)

NEXT = b"GET / HTTP/1.1\r\n"


def take_all(body: Body, data: bytes, step: int) -> bytes:
    """Feed `data` in pieces of `step` bytes, and return what was taken."""
    taken, held = b"", b""
    for start in range(0, len(data), step):
        held += data[start : start + step]
        while not body.is_complete and (size := body.take(held)):
            taken, held = taken + held[:size], held[size:]
    return taken


@pytest.mark.parametrize("step", [1, 2, 3, 7, 1000])
@pytest.mark.parametrize(
    "data",
    [
        b"0\r\n\r\n",
        b"5\r\nhello\r\n0\r\n\r\n",
        b"a;name=value\r\n0123456789\r\n00B\r\n0\r\n\r\n012345\r\n000\r\nX: y\r\nZ:\r\n\r\n",
        b"1\r\nx\r\n" * 1000 + b"0\r\n\r\n",
    ],
)
def test_chunked_body_ends_before_the_next_request(data: bytes, step: int) -> None:
    body = ChunkedBody()
    assert take_all(body, data + NEXT, step) == data
    assert body.is_complete


def test_small_chunks_are_taken_in_several_turns() -> None:
    data = b"1\r\nx\r\n" * 1000
    assert 0 < ChunkedBody().take(data) < len(data)


def test_body_with_length_ends_before_the_next_request() -> None:
    body = LengthBody(10)
    assert take_all(body, b"0123456789" + NEXT, 4) == b"0123456789"
    assert body.is_complete


@pytest.mark.parametrize(
    "line",
    [b"\r\n", b"x\r\n", b"0x5\r\n", b"+5\r\n", b"-5\r\n", b"5 \r\n", b"5;\x00\r\n", b"5;a\rb\r\n",
     b"5;a\nb\r\n", b"5,5\r\n", b"1" * 17 + b"\r\n"],
)  # fmt: skip
def test_wrong_chunk_size_is_refused(line: bytes) -> None:
    with pytest.raises(errors.MalformedRequestError):
        ChunkedBody().take(line + b"hello\r\n0\r\n\r\n")


@pytest.mark.parametrize("end", [b"", b"\r\n"])
def test_size_of_chunk_extensions_is_limited(end: bytes) -> None:
    with pytest.raises(errors.HeadTooLargeError):
        ChunkedBody().take(b"5;" + b"x" * MAX_CHUNK_LINE_BYTES + end)


@pytest.mark.parametrize("trailers", [b"X: y\r\n" * MAX_TRAILER_BYTES, b"x" * MAX_TRAILER_BYTES])
def test_size_of_trailers_is_limited(trailers: bytes) -> None:
    with pytest.raises(errors.HeadTooLargeError):
        take_all(ChunkedBody(), b"0\r\n" + trailers, 50_000)
