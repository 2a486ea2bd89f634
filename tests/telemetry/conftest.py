"""What the service's log would hold."""

import io
import logging
from collections.abc import Callable, Iterator
from typing import Any

import orjson
import pytest

from backend.telemetry import logs

Written = Callable[[], list[dict[str, Any]]]


@pytest.fixture
def written() -> Iterator[Written]:
    """Read the lines of JSON that the service has logged so far, at every level from INFO."""
    stream = io.BytesIO()
    handler = logs.Lines(logs.Json("proj"), stream)
    ours = logging.getLogger("prism")
    level = ours.level
    ours.addHandler(handler)
    ours.setLevel(logging.INFO)
    yield lambda: [orjson.loads(line) for line in stream.getvalue().splitlines()]
    ours.removeHandler(handler)
    ours.setLevel(level)
