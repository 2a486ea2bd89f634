"""Responses of a backend, for tests with a fake server."""

import json
from typing import Any

from tests.client.fake_server import FakeResponse

CLASSIFICATION: dict[str, Any] = {
    "id": "1",
    "model": {"name": "m", "version": "1"},
    "prediction": "7",
    "confidence": 0.9,
    "top": [
        {"label": "7", "index": 7, "probability": 0.9},
        {"label": "1", "index": 1, "probability": 0.1},
    ],
    "timings_ms": {"decode": 1, "queue": 0, "inference": 2},
}
BUSY: dict[str, Any] = {"status": 429, "code": "queue_full", "detail": "The queue is full."}
BROKEN: dict[str, Any] = {"status": 400, "code": "broken_image", "detail": "It is damaged."}
MODELS = FakeResponse(
    json.dumps({"default": "m", "models": [{"name": "m", "state": "ready", "labels": ["7"]}]})
    .encode()
)  # fmt: skip


def batch(*items: dict[str, Any]) -> FakeResponse:
    """Return a response of /classify/batch."""
    return FakeResponse(b"".join(json.dumps(item).encode() + b"\n" for item in items))


def problem(status: int, detail: str = "Why.", **headers: str) -> FakeResponse:
    """Return an error response; the keyword argument `x_name` sets the header `X-Name`."""
    body = {"status": status, "code": "code", "detail": detail}
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return FakeResponse(json.dumps(body).encode(), status, named)
