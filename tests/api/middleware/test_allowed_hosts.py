"""Requests under other host names and from other websites are refused."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from backend.app import create_app
from tests.api.problems import problem
from tests.api.route_paths import all_paths
from tests.api.routes.test_history import wait_until_open
from tests.fake_models import serve, settings_for, write_model
from tests.images import encoded, seven

SEVEN = encoded(seven())
METHODS = ("GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE", "BREW")
ALL_INTERFACES = "0.0.0.0"
EVIL = "http://evil.example"


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """A service that listens on 127.0.0.1."""
    folder = tmp_path_factory.mktemp("local") / "models"
    write_model(folder)
    with serve(folder, history=True, history_open=True) as client:
        wait_until_open(client)
        yield client


@pytest.fixture(scope="module")
def public(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """A service that listens on all interfaces."""
    folder = tmp_path_factory.mktemp("public") / "models"
    write_model(folder)
    with serve(folder, host=ALL_INTERFACES) as client:
        yield client


def status(client: TestClient, **headers: str) -> int:
    return client.post("/classify", files={"file": SEVEN}, headers=headers).status_code


def all_routes(app_dir: Path) -> list[tuple[str, str]]:
    write_model(app_dir)
    paths = all_paths(create_app(settings_for(app_dir))) | {"/unknown"}
    return [(method, path) for method in METHODS for path in sorted(paths)]


def is_protected(method: str, path: str) -> bool:
    return method not in ("GET", "HEAD", "OPTIONS") or path.startswith("/history")


def is_probe(method: str, path: str) -> bool:
    return method in ("GET", "HEAD") and path in ("/health", "/ready")


def test_every_route_but_those_of_probes_refuses_other_hosts(
    local: TestClient, tmp_path: Path
) -> None:
    for method, path in all_routes(tmp_path / "other"):
        response = local.request(method, path, headers={"Host": "evil.example"})
        if is_probe(method, path):
            assert response.status_code == 200
        else:
            assert response.status_code == 421, (method, path)
    problem(local.get("/history", headers={"Host": "evil.example"}), 421, "host_not_allowed")


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": EVIL},
        {"Origin": "null"},
        {"Origin": EVIL, "Sec-Fetch-Site": "same-origin"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
)
def test_every_route_that_changes_something_or_reads_the_history_refuses_other_websites(
    local: TestClient, tmp_path: Path, headers: dict[str, str]
) -> None:
    tested = all_routes(tmp_path / "other")
    assert {("POST", "/classify"), ("POST", "/predict_nn/"), ("GET", "/history/1")} <= set(tested)
    for method, path in tested:
        response = local.request(method, path, headers=headers)
        if is_protected(method, path):
            assert response.status_code == 403, (method, path)
        else:
            assert response.status_code in {200, 401, 404, 405}, (method, path)
    problem(local.post("/classify", headers=headers), 403, "cross_site")


@pytest.mark.parametrize("site", ["same-origin", "none"])
def test_pages_of_the_service_and_typed_addresses_are_allowed(local: TestClient, site: str) -> None:
    headers = {"Sec-Fetch-Site": site}
    assert local.get("/history", headers=headers).status_code == 200
    assert local.post("/classify", files={"file": SEVEN}, headers=headers).status_code == 200


def test_allowed_origin_takes_precedence_over_its_site(local: TestClient) -> None:
    headers = {"Origin": "http://127.0.0.1:8501", "Sec-Fetch-Site": "same-site"}
    assert local.post("/classify", files={"file": SEVEN}, headers=headers).status_code == 200


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE", "POST", "BREW"])
def test_every_method_that_is_not_known_as_safe_is_checked(local: TestClient, method: str) -> None:
    assert local.request(method, "/models", headers={"Origin": EVIL}).status_code == 403


@pytest.mark.parametrize(
    "host",
    ["localhost", "LOCALHOST:8000", "localhost.", "127.0.0.1:8000", "127.1.2.3", "[::1]:8000",
     "[::1]", "prism.localhost:80"],
)  # fmt: skip
def test_names_of_this_machine_are_allowed(local: TestClient, host: str) -> None:
    assert status(local, Host=host) == 200
    assert status(local, Host=host, Origin=f"http://{host}") == 200
    assert status(local, Origin=f"https://{host}") == 200


@pytest.mark.parametrize(
    "host",
    ["evil.example", "localhost.evil.example", "127.0.0.1.evil.example", "192.168.0.1", "[::2]",
     "localhost@evil.example", "", "[", "0.0.0.0", "evil.example:8000", "2130706433", "testserver"],
)  # fmt: skip
def test_other_names_are_refused(local: TestClient, host: str) -> None:
    assert status(local, Host=host) == 421


@pytest.mark.parametrize(
    "origin",
    [EVIL, "https://evil.example:8000", "null", "", "file://", "http://localhost.evil.example",
     "http://localhost@evil.example", "chrome-extension://abcdef"],
)  # fmt: skip
def test_other_origins_are_refused(local: TestClient, public: TestClient, origin: str) -> None:
    for client in (local, public):
        assert status(client, Origin=origin) == 403


def test_request_without_origin_is_allowed(local: TestClient, public: TestClient) -> None:
    assert status(local) == status(public) == 200


def test_service_on_all_interfaces_accepts_every_host_and_its_own_pages(
    public: TestClient,
) -> None:
    assert status(public, Host="prism.example.com") == 200
    own = {"Host": "prism.example.com:8000", "Origin": "https://prism.example.com"}
    assert status(public, **own) == 200
    for origin in ("https://example.com", "http://localhost:3000", "http://127.0.0.1"):
        assert status(public, **own | {"Origin": origin}) == 403


def test_setting_allows_further_hosts(tmp_path: Path) -> None:
    write_model(tmp_path)
    names = "Prism.example.com, [2001:db8::1]"
    with serve(tmp_path, host=ALL_INTERFACES, allowed_hosts=names) as client:
        for host in ("prism.example.com", "[2001:db8::1]:80", "localhost"):
            assert status(client, Host=host) == 200
        assert status(client, Host="other.example.com") == 421
        assert status(client, Host="localhost", Origin="https://prism.example.com") == 200


def test_star_allows_every_host_and_origin(tmp_path: Path) -> None:
    write_model(tmp_path)
    with serve(tmp_path, allowed_hosts="*") as client:
        assert status(client, Host="evil.example", Origin="http://other.example") == 200


def test_refused_request_changes_nothing(local: TestClient) -> None:
    local.delete("/history")
    assert local.post("/classify", files={"file": SEVEN}).json()["stored"] is True
    local.delete("/history", headers={"Origin": EVIL})
    local.delete("/history", headers={"Host": "evil.example"})
    status(local, Origin=EVIL)
    assert len(local.get("/history").json()["answers"]) == 1


def test_preflight_gives_no_permission(local: TestClient) -> None:
    headers = {"Origin": EVIL, "Access-Control-Request-Method": "DELETE"}
    for path in ("/history", "/classify"):
        response = local.options(path, headers=headers)
        assert not [name for name in response.headers if name.startswith("access-control")]
