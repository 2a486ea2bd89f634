"""A browser at the backend: the page /docs works, and pages of other websites are refused."""

import httpx
import pytest
from playwright.sync_api import Browser, Route

from tests.e2e.conftest import TIMEOUT_MS

pytestmark = pytest.mark.browser

EVIL = "http://evil.example/"
FORM = """
<form method="post" action="{url}/predict_nn/"><input name="drawing_data" value="data:,"></form>
<script>document.forms[0].submit()</script>
"""


def test_documentation_loads_only_from_the_service(browser: Browser, backend_url: str) -> None:
    problems: list[str] = []
    requests: list[str] = []
    page = browser.new_page()
    page.on("console", lambda message: problems.append(f"{message.type}: {message.text}"))
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("request", lambda request: requests.append(request.url))
    page.goto(f"{backend_url}/docs")
    page.locator("#operations-models-list_models_models_get .opblock-summary").click()
    page.get_by_role("button", name="Try it out").click()
    page.get_by_role("button", name="Execute").click()
    page.locator(".live-responses-table").wait_for(timeout=TIMEOUT_MS)
    assert '"mnist-cnn"' in page.locator(".live-responses-table").inner_text()
    assert problems == []
    assert [url for url in requests if not url.startswith(backend_url)] == []
    page.close()


def test_form_of_another_website_is_refused(browser: Browser, backend_url: str) -> None:
    def serve(route: Route) -> None:
        route.fulfill(body=FORM.format(url=backend_url), content_type="text/html")

    page = browser.new_page()
    page.route(EVIL, serve)
    with page.expect_response(f"{backend_url}/predict_nn/") as sent:
        page.goto(EVIL)
    assert sent.value.request.headers["origin"] == EVIL.rstrip("/")
    assert sent.value.status == 403
    assert sent.value.json()["code"] == "cross_site"
    page.close()
    assert httpx.get(f"{backend_url}/health").status_code == 200
