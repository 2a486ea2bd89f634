"""Signing in on the page with a local OpenID Connect provider."""

import json
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from client import Client
from tests.conftest import free_port
from tests.e2e.backend_process import backend_with_history
from tests.e2e.conftest import TIMEOUT_MS, run_frontend
from tests.e2e.pages import main

pytestmark = pytest.mark.browser

SECRETS = """[auth]
redirect_uri = "http://127.0.0.1:{{port}}/oauth2callback"
cookie_secret = "a secret of this test, long enough"
client_id = "prism"
client_secret = "a secret of the client"
server_metadata_url = "http://localhost:{provider}/.well-known/openid-configuration"
"""
USERS = (
    {"sub": "ana", "email": "Ana@example.com", "email_verified": True},
    {"sub": "bo", "email": "bo@evil-example.org", "email_verified": True},
    {"sub": "eve", "email": "ana@example.com", "email_verified": False},
)


@pytest.fixture(scope="module")
def backend(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """A backend with an open history that contains first.png."""
    with backend_with_history(tmp_path_factory.mktemp("history")) as client:
        yield client


@pytest.fixture(scope="module")
def provider(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Run a provider; yield the secrets of the page."""
    port = free_port()
    command = [sys.executable, "-m", "oidc_provider_mock", f"--port={port}"]
    command += [f"--user-claims={json.dumps(user)}" for user in USERS]
    process = subprocess.Popen(command)
    folder = tmp_path_factory.mktemp("secrets")
    try:
        wait_until_open(port, process)
        (folder / "secrets.toml").write_text(SECRETS.format(provider=port))
        yield folder / "secrets.toml"
    finally:
        process.terminate()
        process.wait(timeout=20)


def wait_until_open(port: int, process: subprocess.Popen[bytes], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        assert process.poll() is None
        try:
            socket.create_connection(("localhost", port), timeout=1).close()
            return
        except OSError:
            time.sleep(0.05)
    raise AssertionError("the provider did not start")


def open_page(browser: Browser, url: str) -> Page:
    page = browser.new_context(viewport={"width": 1280, "height": 900}).new_page()
    page.set_default_timeout(TIMEOUT_MS)
    page.goto(url)
    page.get_by_role("heading", level=1).wait_for()
    return page


def sign_in(page: Page, user: str, start: str = "stSidebar") -> None:
    page.get_by_test_id(start).get_by_role("button", name="Sign in").click()
    page.get_by_role("button", name=user).click()
    page.get_by_test_id("stSidebar").get_by_role("button", name="Sign out").wait_for()


def test_listed_users_see_the_history(
    browser: Browser, backend: Client, provider: Path, tmp_path: Path
) -> None:
    environ = {
        "STREAMLIT_SECRETS_FILES": str(provider),
        "PRISM_PAGE_USERS": "ana@example.com,example.org",
    }
    with run_frontend(backend.url, tmp_path / "log", **environ) as url:
        page = open_page(browser, url)
        navigation = page.get_by_test_id("stSidebarNav")
        expect(navigation.get_by_role("link", name="Models")).to_be_visible()
        expect(navigation.get_by_role("link", name="History")).to_have_count(0)
        page.goto(f"{url}/history")
        expect(main(page).get_by_text("Sign in to open this page.")).to_be_visible()
        sign_in(page, "ana", start="stMain")
        expect(page.get_by_test_id("stSidebar")).to_contain_text("Signed in as Ana")
        navigation.get_by_role("link", name="History").click()
        expect(main(page).get_by_text("· first.png").first).to_be_visible()
        sign_out = page.get_by_test_id("stSidebar").get_by_role("button", name="Sign out")
        # The provider's page must be open, else its navigation would interrupt the next one.
        with page.expect_event("framenavigated", lambda frame: "end_session" in frame.url):
            sign_out.click()
        expect(sign_out).to_have_count(0)
        page.goto(f"{url}/history")
        expect(main(page).get_by_text("Sign in to open this page.")).to_be_visible()
        expect(main(page).get_by_text("first.png")).to_have_count(0)
        for user in ("bo", "eve"):
            page = open_page(browser, url)
            sign_in(page, user)
            page.goto(f"{url}/history")
            expect(main(page).get_by_text("does not have access to this page")).to_be_visible()
            expect(main(page).get_by_text("first.png")).to_have_count(0)


def test_page_can_require_a_sign_in(
    browser: Browser, backend: Client, provider: Path, tmp_path: Path
) -> None:
    environ = {"STREAMLIT_SECRETS_FILES": str(provider), "PRISM_PAGE_SIGN_IN": "true"}
    with run_frontend(backend.url, tmp_path / "log", **environ) as url:
        page = open_page(browser, url)
        expect(page.get_by_role("heading", level=1)).to_have_text("Prism")
        expect(main(page).locator("input[type=file]")).to_have_count(0)
        expect(page.get_by_test_id("stSidebarNav")).to_have_count(0)
        sign_in(page, "bo", start="stMain")
        expect(page.get_by_role("heading", level=1)).to_have_text("Classify")
