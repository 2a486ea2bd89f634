"""Backend discovery: sources, their order, and repeated searches."""

from collections.abc import Mapping

import grpc
import pytest

from frontend.service import cloud_run
from frontend.service.discovery import (
    DEFAULT_URL,
    Address,
    AddressError,
    AddressSource,
    Discovery,
    find_backend,
)
from tests.frontend.cloud_run_fakes import NUMBER, REGION, AdminApi, metadata_server

SERVICE_URL = "https://backend-abc-ew.a.run.app"
DETERMINISTIC = f"https://backend-{NUMBER}.{REGION}.run.app"
ON_CLOUD_RUN = {"K_SERVICE": "frontend", "PRISM_PROJECT": NUMBER, "PRISM_REGION": REGION}


class TestFindBackend:
    """The order: BACKEND, the Admin API, the deterministic URL, localhost."""

    def test_backend_setting_is_used(self) -> None:
        found = find_backend({"BACKEND": "https://prism.example/"})
        assert found == Address("https://prism.example", AddressSource.SETTING)

    def test_backend_setting_takes_precedence_without_request(self, api: AdminApi) -> None:
        found = find_backend({**ON_CLOUD_RUN, "BACKEND": "https://prism.example"})
        assert found.source is AddressSource.SETTING
        assert api.requests == []

    @pytest.mark.parametrize("environ", [{}, {"BACKEND": ""}, {"BACKEND": "  "}])
    def test_default_outside_cloud_run_is_localhost(
        self, environ: dict[str, str], api: AdminApi
    ) -> None:
        assert find_backend(environ) == Address("http://localhost:8000", AddressSource.DEFAULT)
        assert api.requests == []

    def test_admin_api_is_used_on_cloud_run(self, api: AdminApi) -> None:
        with metadata_server() as host:
            found = find_backend({"K_SERVICE": "frontend", "GCE_METADATA_HOST": host})
        assert found == Address(SERVICE_URL, AddressSource.CLOUD_RUN)

    def test_deterministic_url_is_used_if_admin_api_fails(self, api: AdminApi) -> None:
        api.error = grpc.StatusCode.PERMISSION_DENIED
        found = find_backend(ON_CLOUD_RUN)
        assert (found.url, found.source) == (DETERMINISTIC, AddressSource.DETERMINISTIC)
        assert "run.services.get" in found.warnings[0]

    def test_localhost_is_used_if_everything_fails(self, api: AdminApi) -> None:
        environ = {"K_SERVICE": "frontend", "GCE_METADATA_HOST": "127.0.0.1:1"}
        found = find_backend(environ)
        assert (found.url, found.source) == (DEFAULT_URL, AddressSource.DEFAULT)
        assert found.warnings == ("The metadata server does not respond.",)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("BACKEND", "localhost:8000"),
        ("PRISM_BACKEND_SERVICE", "my backend"),
        ("PRISM_REGION", "evil.example/"),
        ("PRISM_PROJECT", "a/b"),
    ],
)
def test_invalid_setting_is_reported_with_its_name(name: str, value: str) -> None:
    with pytest.raises(AddressError, match=rf"{name}.*{value}"):
        find_backend({"K_SERVICE": "frontend", name: value})


class TestDiscovery:
    """The address is cached until the backend is unreachable."""

    def setup_method(self) -> None:
        self.now = 0.0
        self.searches = 0
        self.discovery = Discovery(self.search, interval=10, clock=lambda: self.now)

    def search(self, environ: Mapping[str, str]) -> Address:
        self.searches += 1
        return Address(f"https://{self.searches}.example", AddressSource.CLOUD_RUN)

    def address(self) -> Address:
        return self.discovery.address(ON_CLOUD_RUN)

    def test_address_is_cached(self) -> None:
        first = self.address()
        self.now = 1e6
        assert self.address() == first
        assert self.searches == 1

    def test_unreachable_backend_is_searched_again(self) -> None:
        first = self.address()
        self.now = 10
        self.discovery.mark_unreachable(first)
        assert self.address() != first
        assert self.searches == 2

    def test_searches_have_a_minimum_interval(self) -> None:
        first = self.address()
        self.now = 9
        self.discovery.mark_unreachable(first)
        assert self.address() == first
        self.now = 10
        assert self.address() != first

    def test_marking_an_earlier_address_has_no_effect(self) -> None:
        first = self.address()
        self.now = 10
        self.discovery.mark_unreachable(first)
        second = self.address()
        self.now = 30
        self.discovery.mark_unreachable(first)
        assert self.address() == second

    def test_backend_setting_is_not_cached(self) -> None:
        discovery = Discovery()
        for name in ("one", "two"):
            assert discovery.address({"BACKEND": f"https://{name}"}).url == f"https://{name}"


def test_timeouts_are_three_seconds_at_most() -> None:
    assert max(cloud_run.STEP_TIMEOUT, cloud_run.API_TIMEOUT, cloud_run.METADATA_TIMEOUT) <= 3
