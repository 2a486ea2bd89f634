"""Tests of what waits and runs are coroutines of one event loop each."""

import pytest


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"
