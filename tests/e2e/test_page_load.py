"""Simulated page users without a browser, as in load tests, on a real frontend."""

import json
import subprocess
import sys

import pytest

from deploy.page_session import Session
from tests.conftest import ROOT
from tests.e2e.toggle_proxy import ToggleProxy

pytestmark = pytest.mark.browser


def test_session_opens_a_page_by_path(frontend_url: str) -> None:
    with Session(frontend_url) as session:
        session.open()
        assert "Classify" in session.texts()
        session.open("models")
        assert "Models" in session.texts()


def test_missing_component_raises(frontend_url: str) -> None:
    with Session(frontend_url) as session:
        session.open("models")
        with pytest.raises(LookupError, match="drawing_pad"):
            session.set_component("drawing_pad", {})


def run_locust(
    backend_url: str, frontend_url: str, *options: str
) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "locust", "--headless", "--only-summary", "--json"]
    command += ["--host", backend_url, "--frontend", frontend_url, "--users", "2"]
    command += ["--spawn-rate", "2", "--run-time", "8s", *options, "Visitor"]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=90)


def test_each_step_of_a_page_user_is_timed(backend_url: str, frontend_url: str) -> None:
    result = run_locust(backend_url, frontend_url, "--max-p95", "60000")
    assert result.returncode == 0, result.stdout + result.stderr
    steps = {line["name"]: line for line in json.loads(result.stdout)}
    assert set(steps) == {"open the page", "go to Draw", "draw a stroke"}
    for step in steps.values():
        assert step["num_requests"] > step["num_failures"] == 0


def test_page_without_predictions_is_a_failure(
    backend_url: str, frontend_url: str, proxy: ToggleProxy
) -> None:
    proxy.close()
    result = run_locust(backend_url, frontend_url, "--run-time", "20s")
    assert result.returncode == 1
    assert "draw a stroke" in result.stderr
    assert "'%' is not on the page" in result.stderr


def test_unreachable_page_is_a_failure(backend_url: str) -> None:
    result = run_locust(backend_url, "http://127.0.0.1:1")
    assert result.returncode == 1
    assert "open the page" in result.stderr
