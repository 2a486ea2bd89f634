"""Visitors without a browser, as load tests use them, on a real page."""

import subprocess
import sys

import pytest

from load.session import Session
from tests.conftest import ROOT

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


def test_people_who_draw_are_timed_and_slow_answers_are_a_failure(frontend_url: str) -> None:
    command = [sys.executable, "-m", "load.drawing", frontend_url]
    command += ["--sessions", "2", "--seconds", "3"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 sessions" in done.stdout
    assert "0 failed" in done.stdout
    slow = subprocess.run([*command, "--p95", "0"], cwd=ROOT, capture_output=True, timeout=60)
    assert slow.returncode == 1
