"""Security headers of responses, and the page at /docs that obeys them."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from httpx2 import Response
from starlette.testclient import TestClient

from tests.fake_models import FailingRuntime, serve
from tests.images import encoded, seven

FILES = {"file": encoded(seven())}
API_POLICY = "default-src 'none'; frame-ancestors 'none'"


def one(response: Response, header: str) -> str:
    (value,) = response.headers.get_list(header)
    return value


@pytest.fixture
def failing(models_dir: Path) -> Iterator[TestClient]:
    with serve(models_dir, FailingRuntime("secret")) as client:
        yield client


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/health", 200), ("GET", "/models", 200), ("POST", "/classify", 200),
        ("POST", "/classify?top_k=1", 200), ("POST", "/classify/batch", 200), ("GET", "/no", 404),
        ("PUT", "/models", 405), ("POST", "/classify?top_k=x", 422), ("GET", "/metrics", 200),
        ("GET", "/history", 401), ("GET", "/openapi.json", 200), ("GET", "/docs/start.js", 200),
    ],
)  # fmt: skip
def test_response_may_load_and_frame_nothing(
    client: TestClient, method: str, path: str, status: int
) -> None:
    response = client.request(method, path, files=FILES if method == "POST" else None)
    assert response.status_code == status
    assert one(response, "content-security-policy") == API_POLICY
    stored = "public, max-age=86400" if path.startswith("/docs/") else "no-store"
    assert one(response, "cache-control") == stored


def test_unexpected_error_has_the_same_headers(failing: TestClient) -> None:
    response = failing.post("/classify?top_k=1", files=FILES)
    assert response.status_code == 500
    assert one(response, "content-security-policy") == API_POLICY
    assert one(response, "cache-control") == "no-store"


@pytest.mark.parametrize("headers", [{"Host": "evil.example"}, {"Origin": "http://evil.example"}])
def test_refusal_has_the_same_headers(client: TestClient, headers: dict[str, str]) -> None:
    response = client.post("/classify", headers=headers)
    assert response.status_code in (403, 421)
    assert one(response, "content-security-policy") == API_POLICY


def test_docs_page_loads_files_of_this_service_only(client: TestClient) -> None:
    page = client.get("/docs")
    policy = one(page, "content-security-policy")
    assert client.head("/docs").headers["content-security-policy"] == policy
    assert "script-src 'self';" in policy
    assert "default-src 'none'" in policy
    assert "http" not in policy + page.text
    links = re.findall(r'(?:src|href)="(docs/[^"]+)"', page.text)
    assert len(links) == 3
    assert not re.search(r"<script>|<style|\son\w+=", page.text)  # inline code is not allowed
    for link in links:
        file = client.get(f"/{link}")
        assert file.status_code == 200
        expected = "text/css" if link.endswith(".css") else "text/javascript"
        assert file.headers["content-type"].startswith(expected)
        assert len(file.content) > 100
    assert 'url: "openapi.json"' in client.get("/docs/start.js").text


@pytest.mark.parametrize("path", ["/redoc", "/docs/oauth2-redirect"])
def test_other_documentation_pages_do_not_exist(client: TestClient, path: str) -> None:
    assert client.get(path).status_code == 404
