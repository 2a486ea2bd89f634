"""Browser fixtures: Chromium, and the frontend in front of a real backend."""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
from playwright.sync_api import Browser, Page, Request, sync_playwright

from tests.conftest import ROOT, free_port
from tests.e2e.toggle_proxy import ToggleProxy

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
BROWSER_FLAGS = [
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
TIMEOUT_MS = 90_000  # for slow machines: a wait ends as soon as its condition holds

Visit = Callable[..., Page]


@pytest.fixture(scope="session")
def browser_path() -> str:
    """Return the path of an installed Chromium; skip the test, or fail in CI, if there is none."""
    path = next(filter(None, map(shutil.which, BROWSERS)), None)
    if path is None:
        message = f"no Chromium on this machine (looked for {', '.join(BROWSERS)})"
        if os.environ.get("CI") == "true":
            pytest.fail(message)
        pytest.skip(message)
    return path


@pytest.fixture(scope="module")
def browser(browser_path: str) -> Iterator[Browser]:
    """A running Chromium.

    Not of the session: Playwright's event loop would break later tests that call `asyncio.run`.
    """
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=browser_path, args=BROWSER_FLAGS)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def session_proxy(backend_url: str) -> Iterator[ToggleProxy]:
    """The proxy between frontend and backend of the whole session."""
    target = urlsplit(backend_url)
    proxy = ToggleProxy((target.hostname or "", target.port or 0), free_port())
    proxy.open()
    yield proxy
    proxy.close()


@pytest.fixture
def proxy(session_proxy: ToggleProxy) -> Iterator[ToggleProxy]:
    """The proxy between frontend and backend, reopened after the test."""
    yield session_proxy
    session_proxy.open()


@pytest.fixture(scope="session")
def frontend_url(
    browser_path: str, session_proxy: ToggleProxy, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """URL of a frontend process."""
    with run_frontend(session_proxy.url, tmp_path_factory.mktemp("frontend") / "log") as url:
        yield url


@contextmanager
def run_frontend(
    backend_url: str, log: Path, port: int | None = None, /, **environ: str
) -> Iterator[str]:
    """Run a frontend process that writes its output to `log`; yield its URL."""
    port = port or free_port()
    url = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "streamlit", "run", "frontend/app.py"]
    command += [f"--server.port={port}", "--server.address=127.0.0.1"]
    with log.open("wb") as out:
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            env={**os.environ, "BACKEND": backend_url, **environ},
            stdout=out,
            stderr=subprocess.STDOUT,
        )
        try:
            _wait_until_healthy(url, process, log)
            yield url
        finally:
            process.terminate()
            process.wait(timeout=20)


@pytest.fixture
def visit(browser: Browser, frontend_url: str) -> Iterator[Visit]:
    """A function that opens a page in a new browser context.

    The test fails if a page logs an error or sends a request to another host.
    """
    contexts = []
    page_errors: list[str] = []
    external_requests: list[str] = []

    def check_host(request: Request) -> None:
        parts = urlsplit(request.url)
        if parts.scheme in ("http", "https", "ws", "wss") and parts.netloc not in frontend_url:
            external_requests.append(request.url)

    def open_page(
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
        page.set_default_timeout(TIMEOUT_MS)
        page.on("pageerror", lambda error: page_errors.append(str(error)))
        page.on("request", check_host)
        page.goto(frontend_url + path)
        page.get_by_role("heading", level=1).wait_for()
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert page_errors == []
    assert external_requests == []


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
