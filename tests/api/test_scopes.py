"""Every route requires a scope of the API key, or is listed here as one that requires none."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from backend.api.errors import KeyMissingError, ScopeMissingError
from backend.api.scopes import API_KEY, check_scope
from backend.app import create_app
from backend.keys import SCOPES, ApiKey, ScopeName
from backend.settings import Settings
from tests.api.problems import problem
from tests.api.route_paths import all_paths
from tests.api.routes.test_history import wait_until_open
from tests.fake_models import serve, settings_for, write_model
from tests.images import encoded, seven

WITHOUT_SCOPE = {"/", "/health", "/ready", "/metrics", "/openapi.json", "/docs"}
FILES = {"file": ("seven.png", encoded(seven()))}


def entry(name: str, scopes: str) -> str:
    return f"{name}={hashlib.sha256(name.encode()).hexdigest()};scopes={scopes}"


def key(name: str) -> dict[str, str]:
    return {"X-API-Key": name}


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """A service whose keys have one scope each, or none."""
    folder = tmp_path_factory.mktemp("scopes") / "models"
    write_model(folder)
    keys = ",".join([entry("none", ""), *(entry(scope, scope) for scope in SCOPES)])
    with serve(folder, api_keys=keys, history=True, history_open=True) as client:
        wait_until_open(client)
        yield client


def is_scope_free(path: str) -> bool:
    return path in WITHOUT_SCOPE or path.startswith("/docs/")


def test_every_route_refuses_a_key_without_its_scope(client: TestClient, tmp_path: Path) -> None:
    write_model(tmp_path)
    paths = all_paths(create_app(settings_for(tmp_path)))
    assert paths >= {*WITHOUT_SCOPE, "/classify", "/classify/", "/classify/batch", "/predict_nn/"}
    for path in sorted(paths):
        for method in ("GET", "POST", "PUT", "PATCH", "DELETE"):
            status = client.request(method, path, headers=key("none")).status_code
            served = {403} if not is_scope_free(path) else {200, 404}
            assert status in served | {405}, (method, path)
        statuses = {
            client.request(method, path, headers=key("none")).status_code
            for method in ("GET", "POST", "PATCH", "DELETE")
        }
        assert statuses != {405}, path


@pytest.mark.parametrize(
    ("method", "path", "scope"),
    [
        ("POST", "/classify", "classify"),  # the fast path
        ("POST", "/classify/", "classify"),
        ("POST", "/classify?top_k=1", "classify"),
        ("POST", "/classify/batch", "classify"),
        ("POST", "/predict", "classify"),
        ("GET", "/models", "classify"),
        ("GET", "/models/fake", "classify"),
        ("GET", "/history", "history"),
        ("GET", "/history/export", "history"),
        ("GET", "/history/storage", "history"),
    ],
)
def test_route_accepts_the_scope_that_others_refuse(
    client: TestClient, method: str, path: str, scope: str
) -> None:
    files = FILES if method == "POST" else None
    for name in ("none", *SCOPES):
        response = client.request(method, path, files=files, headers=key(name))
        if name == scope:
            assert response.status_code == 200
            continue
        body = problem(response, 403, "scope_missing")
        assert f"'{scope}'" in body["detail"]
        challenge = response.headers["www-authenticate"]
        assert challenge.endswith(f'error="insufficient_scope", scope="{scope}"')


def test_key_without_history_scope_deletes_nothing(client: TestClient) -> None:
    classified = client.post("/classify", files=FILES, headers=key("classify")).json()
    for path in ("/history", f"/history/{classified['id']}"):
        problem(client.delete(path, headers=key("classify")), 403, "scope_missing")
    stored = client.get(f"/history/{classified['id']}", headers=key("history"))
    assert stored.status_code == 200


def scope_of_request(settings: Settings, api_key: ApiKey | None) -> dict[str, object]:
    return {"state": {"settings": settings, API_KEY: api_key}}


def test_models_cannot_be_changed_without_a_key_that_has_the_scope() -> None:
    settings = Settings(history_open=True)
    with pytest.raises(KeyMissingError):
        check_scope(scope_of_request(settings, None), "models")
    with pytest.raises(ScopeMissingError):
        check_scope(scope_of_request(settings, ApiKey("page", b"")), "models")
    changer = ApiKey("ci", b"", frozenset({"models"}))
    check_scope(scope_of_request(settings, changer), "models")


@pytest.mark.parametrize("name", SCOPES)
def test_request_without_accepted_key_has_no_scope_in_a_service_with_keys(name: ScopeName) -> None:
    settings = Settings(api_keys=64 * "a", history_open=True)
    with pytest.raises(KeyMissingError):
        check_scope(scope_of_request(settings, None), name)
