"""Access to the log of the service."""

import io
import logging
from collections.abc import Callable, Iterator
from typing import Any

import orjson
import pytest

from backend.telemetry import logs

ReadLog = Callable[[], list[dict[str, Any]]]


@pytest.fixture
def read_log() -> Iterator[ReadLog]:
    """Return a function that returns the parsed log lines so far, from INFO on."""
    stream = io.BytesIO()
    handler = logs.LineHandler(logs.JsonFormatter("proj"), stream)
    logger = logging.getLogger("prism")
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    yield lambda: [orjson.loads(line) for line in stream.getvalue().splitlines()]
    logger.removeHandler(handler)
    logger.setLevel(level)
