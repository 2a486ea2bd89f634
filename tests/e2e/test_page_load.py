"""Visitors without a browser, as load tests use them, on a real page."""

import json
import subprocess
import sys

import pytest

from deploy.page_client import Session
from tests.conftest import ROOT
from tests.e2e.toggle_proxy import ToggleProxy

pytestmark = pytest.mark.browser


def test_a_visitor_opens_a_page_by_its_path(frontend_url: str) -> None:
    with Session(frontend_url) as visitor:
        visitor.open()
        assert "Classify" in visitor.texts()
        visitor.open("models")
        assert "Models" in visitor.texts()


def test_what_is_not_on_the_page_cannot_be_set(frontend_url: str) -> None:
    with Session(frontend_url) as visitor:
        visitor.open("models")
        with pytest.raises(LookupError, match="drawing_pad"):
            visitor.set_component("drawing_pad", {})


def visits(backend_url: str, frontend_url: str, *options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "locust", "--headless", "--only-summary", "--json"]
    command += ["--host", backend_url, "--frontend", frontend_url, "--users", "2"]
    command += ["--spawn-rate", "2", "--run-time", "8s", *options, "Visitor"]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=90)


def test_people_come_draw_and_go_and_each_step_is_timed(
    backend_url: str, frontend_url: str
) -> None:
    done = visits(backend_url, frontend_url, "--max-p95", "60000")
    assert done.returncode == 0, done.stdout + done.stderr
    steps = {line["name"]: line for line in json.loads(done.stdout)}
    assert set(steps) == {"open the page", "go to Draw", "draw a stroke"}
    for step in steps.values():
        assert step["num_requests"] > step["num_failures"] == 0


def test_a_page_without_answers_is_a_failure(
    backend_url: str, frontend_url: str, proxy: ToggleProxy
) -> None:
    proxy.close()
    done = visits(backend_url, frontend_url)
    assert done.returncode == 1
    assert "draw a stroke" in done.stderr
    assert "no '%' on the page" in done.stderr


def test_a_page_that_is_not_there_is_a_failure(backend_url: str) -> None:
    done = visits(backend_url, "http://127.0.0.1:1")
    assert done.returncode == 1
    assert "open the page" in done.stderr
