"""The format of all error responses."""

from typing import Any

from httpx2 import Response

KEYS = {"type", "title", "status", "detail", "code", "request_id"}


def problem(response: Response, status: int, code: str) -> dict[str, Any]:
    """Check that `response` is the error `code`, and return its body."""
    body: dict[str, Any] = response.json()
    assert (response.status_code, body["code"]) == (status, code)
    assert response.headers["content-type"] == "application/problem+json"
    assert set(body) == KEYS
    assert body["status"] == status
    assert body["request_id"] == response.headers["x-request-id"]
    assert body["type"].endswith(code)
    assert body["detail"].endswith(".")
    return body
