"""Where keys are set, nothing but /health and /ready answers without one."""

import hashlib
import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module
from itertools import chain
from pathlib import Path
from pkgutil import walk_packages

import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from backend import api
from backend.app import create_app
from tests.api.problems import problem
from tests.conftest import ROOT
from tests.fake_models import serve, settings_for, write_model
from tests.images import encoded, seven

KEYS = ["the first key", "the-second"]
HASHES = ",".join(hashlib.sha256(key.encode()).hexdigest() for key in KEYS)
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND")
FREE = {(method, path) for method in ("GET", "HEAD") for path in ("/health", "/ready")}
TRICKS = (
    *("//", "//classify", "/./classify", "/health/../classify", "/health/", "/ready/"),
    *("/health%2f..%2fclassify", "/%63lassify", "/classify/", "/health;x", "/health%00", "/HEALTH"),
    *("/health%0a", "/nowhere", "/docs/", "/docs/oauth2-redirect", "/static/../models", "*"),
)


@pytest.fixture
def client(tmp_path: Path) -> Iterator[TestClient]:
    write_model(tmp_path)
    with serve(tmp_path, api_keys=HASHES, history=True) as client:
        yield client


def paths(app: FastAPI) -> set[str]:
    """Every path of the application, with something for its parameters."""
    modules = walk_packages(api.__path__, f"{api.__name__}.")
    routers = [getattr(import_module(found.name), "router", None) for found in modules]
    routes = chain(app.routes, *(router.routes for router in routers if router))
    found = {str(route.path) for route in routes if hasattr(route, "path")}
    return {path.replace("{id}", "1").replace("{name}", "fake") for path in found}


def test_every_route_and_method_asks_for_a_key(client: TestClient, tmp_path: Path) -> None:
    known = paths(create_app(settings_for(tmp_path)))
    assert {"/docs", "/openapi.json", "/metrics", "/classify", "/history/1", "/predict"} <= known
    for path in sorted({*known, *TRICKS}):
        for method in METHODS:
            answer = client.request(method, path, follow_redirects=False)
            if (method, path) in FREE:
                assert answer.status_code in {200, 503}
                continue
            assert answer.status_code == 401, (method, path)
            assert answer.headers["www-authenticate"].startswith("Bearer")
            if method != "HEAD":
                problem(answer, 401, "api_key_missing")


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
def test_each_key_opens_every_way(client: TestClient, headers: dict[str, str]) -> None:
    picture = {"file": encoded(seven())}
    for path in ("/classify", "/classify?top_k=1", "/classify/batch"):
        assert client.post(path, files=picture, headers=headers).status_code == 200
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
def test_a_wrong_key_is_refused(client: TestClient, headers: dict[str, str], path: str) -> None:
    answer = client.post(path, headers=headers)
    problem(answer, 403, "api_key_wrong")
    assert "invalid_token" in answer.headers["www-authenticate"]


@pytest.mark.parametrize("given", ["Basic dGhlIGZpcnN0IGtleQ==", "the first key", ""])
def test_other_ways_to_sign_in_are_no_key(client: TestClient, given: str) -> None:
    problem(client.get("/models", headers={"Authorization": given}), 401, "api_key_missing")


def test_without_keys_everything_but_the_history_is_open(tmp_path: Path) -> None:
    write_model(tmp_path)
    with serve(tmp_path, history=True) as client:
        assert client.get("/models").status_code == 200
        body = problem(client.get("/history"), 401, "api_key_missing")
        assert "PRISM_HISTORY_OPEN" in body["detail"]


def test_the_command_makes_a_key_and_its_hash() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "backend.api.middleware.api_keys"],
        cwd=ROOT, capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    key, known = (line.split(": ")[1].strip() for line in done.stdout.splitlines())
    assert hashlib.sha256(key.encode()).hexdigest() == known
    assert len(key) >= 32
