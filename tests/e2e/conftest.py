"""A browser, and the web page in front of a real backend."""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
from playwright.sync_api import Browser, Page, Request, sync_playwright

from tests.conftest import ROOT, free_port
from tests.e2e.gate import Gate

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--use-fake-device-for-media-stream",
    "--use-fake-ui-for-media-stream",
]
PATIENCE = 30_000  # ms, for busy machines: every wait ends as soon as it can

Open = Callable[..., Page]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A Chromium that is installed on this machine; without one these tests are skipped."""
    path = next(filter(None, map(shutil.which, NAMES)), None)
    if path is None:
        missing = f"no Chromium on this machine (looked for {', '.join(NAMES)})"
        if os.environ.get("CI") == "true":
            pytest.fail(missing)
        pytest.skip(missing)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def one_gate(backend_url: str) -> Iterator[Gate]:
    """The gate between the page and the backend, for the whole module."""
    target = urlsplit(backend_url)
    gate = Gate((target.hostname or "", target.port or 0), free_port())
    gate.open()
    yield gate
    gate.shut()


@pytest.fixture
def gate(one_gate: Gate) -> Iterator[Gate]:
    """The gate, open again after the test."""
    yield one_gate
    one_gate.open()


@pytest.fixture(scope="module")
def frontend_url(
    browser: Browser, one_gate: Gate, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """Address of a real frontend process; asks for the browser first, not to start in vain."""
    port = free_port()
    log = tmp_path_factory.mktemp("frontend") / "log"
    command = [sys.executable, "-m", "streamlit", "run", "frontend/app.py"]
    command += [f"--server.port={port}", "--server.address=127.0.0.1"]
    with log.open("wb") as out:
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            env={**os.environ, "BACKEND": one_gate.url},
            stdout=out,
            stderr=subprocess.STDOUT,
        )
        try:
            url = f"http://127.0.0.1:{port}"
            _wait_until_healthy(url, process, log)
            yield url
        finally:
            process.terminate()
            process.wait(timeout=20)


@pytest.fixture
def visit(browser: Browser, frontend_url: str) -> Iterator[Open]:
    """A function that opens a page in a browser of its own.

    What it logs as an error fails the test, and so does a request to any other host.
    """
    contexts = []
    errors: list[str] = []
    elsewhere: list[str] = []

    def note(request: Request) -> None:
        parts = urlsplit(request.url)
        if parts.scheme in ("http", "https", "ws", "wss") and parts.netloc not in frontend_url:
            elsewhere.append(request.url)

    def opened(
        path: str = "/", *, width: int = 1280, scheme: str = "light", zone: str | None = None
    ) -> Page:
        context = browser.new_context(
            viewport={"width": width, "height": 900},
            color_scheme="dark" if scheme == "dark" else "light",
            permissions=["clipboard-read", "clipboard-write"],
            timezone_id=zone,
        )
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(PATIENCE)
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("request", note)
        page.goto(frontend_url + path)
        page.get_by_role("heading", level=1).wait_for()
        return page

    yield opened
    for context in contexts:
        context.close()
    assert errors == []
    assert elsewhere == []


def _wait_until_healthy(
    url: str, process: subprocess.Popen[bytes], log: Path, seconds: float = 60
) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        assert process.poll() is None, log.read_text()
        try:
            if httpx.get(f"{url}/_stcore/health", timeout=5).status_code == 200:
                return
        except httpx.TransportError:
            time.sleep(0.05)
    raise AssertionError(f"{url} was not healthy within {seconds} s")
