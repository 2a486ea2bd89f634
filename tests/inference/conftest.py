"""Fixtures of the inference tests; each async test runs in its own event loop."""

import pytest


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"
