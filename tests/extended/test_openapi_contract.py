"""The backend answers thousands of random requests as its OpenAPI document says."""

import hashlib
from pathlib import Path
from typing import Any

import pytest

from tests.contract.runner import run_schemathesis
from tests.e2e.backend_process import BackendProcess

KEY = "contract"
KEYS = hashlib.sha256(KEY.encode()).hexdigest()
# Settings, random requests for each route, and the minimum of all requests.
SERVICES: dict[str, tuple[dict[str, Any], int, int]] = {
    "open history": ({"PRISM_HISTORY_OPEN": "true", "PRISM_HISTORY_IMAGES": "true"}, 350, 5_000),
    "closed history": ({}, 20, 1_000),
    "no history": ({"PRISM_HISTORY": "false", "PRISM_HISTORY_OPEN": "true"}, 20, 1_000),
    "keys": ({"PRISM_API_KEYS": KEYS}, 20, 1_000),
}


@pytest.mark.parametrize("name", SERVICES)
def test_backend_keeps_its_openapi_document(tmp_path: Path, name: str) -> None:
    settings, examples, cases = SERVICES[name]
    headers = (f"X-API-Key: {KEY}",) if "PRISM_API_KEYS" in settings else ()
    with BackendProcess(PRISM_DATA_DIR=str(tmp_path / "data"), **settings) as backend:
        backend.wait_until_ready()
        report = run_schemathesis(backend.url, tmp_path, examples=examples, headers=headers)
    assert report["test_cases"]["generated"] >= cases
    print(f"{name}: {report['test_cases']}, {report['running_time']:.0f} s")
