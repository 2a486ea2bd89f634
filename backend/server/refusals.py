"""Responses that the server sends itself, to requests that do not reach the application."""

from collections.abc import Iterable
from typing import Final

import orjson
from ulid import ULID

from backend.api.errors import PROBLEM_TYPE, RequestError, problem_for

_RETRY: Final = (b"retry-after", b"1")


def refusal(error: RequestError, default_headers: list[tuple[bytes, bytes]]) -> bytes:
    """Return the bytes of the response to an error; the connection is closed after it."""
    request_id = str(ULID())
    problem = problem_for(error, request_id)
    body = orjson.dumps(problem)
    headers = [
        *default_headers,
        (b"content-type", PROBLEM_TYPE.encode()),
        (b"content-length", str(len(body)).encode()),
        (b"connection", b"close"),
        (b"x-request-id", request_id.encode()),
        *([_RETRY] if problem["status"] == 503 else []),
    ]
    status_line = f"HTTP/1.1 {problem['status']} {problem['title']}\r\n".encode()
    return status_line + render_fields(headers) + b"\r\n" + body


def render_fields(fields: Iterable[tuple[bytes, bytes]]) -> bytes:
    """Return header fields as lines."""
    return b"".join([b"%b: %b\r\n" % field for field in fields])
