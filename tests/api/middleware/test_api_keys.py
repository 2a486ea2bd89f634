"""API keys: every route except /health and /ready requires one."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from backend.app import create_app
from tests.api.problems import problem
from tests.api.route_paths import all_paths
from tests.fake_models import serve, settings_for, write_model
from tests.images import encoded, seven

KEYS = ["the first key", "the-second"]
HASHES = ",".join(hashlib.sha256(key.encode()).hexdigest() for key in KEYS)
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND")
PROBES = ("/health", "/ready", "/ping", "/v2/health/live", "/v2/health/ready")
PUBLIC = {(method, path) for method in ("GET", "HEAD") for path in PROBES}
# Their errors have other shapes, which tests/api/compat checks.
PROTOCOLS = ("/v1/", "/v2", "/predictions", "/ping", "/huggingface")
TRICKY_PATHS = (
    *("//", "//classify", "/./classify", "/health/../classify", "/health/", "/ready/"),
    *("/health%2f..%2fclassify", "/%63lassify", "/classify/", "/health;x", "/health%00", "/HEALTH"),
    *("/health%0a", "/nowhere", "/docs/", "/docs/oauth2-redirect", "/static/../models", "*"),
)


@pytest.fixture
def client(tmp_path: Path) -> Iterator[TestClient]:
    write_model(tmp_path)
    with serve(tmp_path, api_keys=HASHES, history=True) as client:
        yield client


def test_every_route_and_method_requires_key(client: TestClient, tmp_path: Path) -> None:
    paths = all_paths(create_app(settings_for(tmp_path)))
    assert {"/docs", "/openapi.json", "/metrics", "/classify", "/history/1", "/predict"} <= paths
    for path in sorted({*paths, *TRICKY_PATHS}):
        for method in METHODS:
            response = client.request(method, path, follow_redirects=False)
            if (method, path) in PUBLIC:
                assert response.status_code in {200, 405, 503}  # not every probe has HEAD
                continue
            assert response.status_code == 401, (method, path)
            assert response.headers["www-authenticate"].startswith("Bearer")
            if method != "HEAD" and not path.startswith(PROTOCOLS):
                problem(response, 401, "api_key_missing")


@pytest.mark.parametrize(
    "headers",
    [
        {"Authorization": "Bearer the first key"},
        {"Authorization": "bearer the first key"},
        {"X-API-Key": "the first key"},
        {"X-API-Key": "the-second"},
        {"X-API-Key": "the first key", "Authorization": "Bearer of a platform"},
    ],
)
def test_each_key_is_accepted_in_either_header(client: TestClient, headers: dict[str, str]) -> None:
    image = {"file": encoded(seven())}
    for path in ("/classify", "/classify?top_k=1", "/classify/batch"):
        assert client.post(path, files=image, headers=headers).status_code == 200
    assert client.get("/docs", headers=headers).status_code == 200
    assert client.get("/nowhere", headers=headers).status_code == 404


@pytest.mark.parametrize(
    "headers",
    [
        {"X-API-Key": "The first key"},
        {"X-API-Key": ""},
        {"X-API-Key": HASHES.split(",")[0]},
        {"X-API-Key": HASHES},
        {"Authorization": "Bearer"},
        {"Authorization": "Bearer the first key, another key"},
    ],
)
@pytest.mark.parametrize("path", ["/classify", "/models"])
def test_wrong_key_gets_403(client: TestClient, headers: dict[str, str], path: str) -> None:
    response = client.post(path, headers=headers)
    problem(response, 403, "api_key_wrong")
    assert "invalid_token" in response.headers["www-authenticate"]


@pytest.mark.parametrize("authorization", ["Basic dGhlIGZpcnN0IGtleQ==", "the first key", ""])
def test_other_authorization_schemes_get_401(client: TestClient, authorization: str) -> None:
    problem(client.get("/models", headers={"Authorization": authorization}), 401, "api_key_missing")


def test_name_and_options_of_a_key_are_no_key(tmp_path: Path) -> None:
    write_model(tmp_path)
    entry = f"page={hashlib.sha256(b'secret').hexdigest()};scopes=classify"
    with serve(tmp_path, api_keys=entry) as client:
        for key in ("page", entry, "page=secret"):
            problem(client.get("/models", headers={"X-API-Key": key}), 403, "api_key_wrong")
        assert client.get("/models", headers={"X-API-Key": "secret"}).status_code == 200


def test_without_keys_only_history_requires_key(tmp_path: Path) -> None:
    write_model(tmp_path)
    with serve(tmp_path, history=True) as client:
        assert client.get("/models").status_code == 200
        body = problem(client.get("/history"), 401, "api_key_missing")
        assert "PRISM_HISTORY_OPEN" in body["detail"]
