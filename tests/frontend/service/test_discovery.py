"""Where the backend is: the way to it, the order of the ways, and when to look again."""

from collections.abc import Mapping

import grpc
import pytest

from frontend.service import cloud_run
from frontend.service.discovery import DEFAULT, Address, AddressError, Discovery, Way, find
from tests.frontend.cloud import NUMBER, REGION, AdminApi, metadata_server

FOUND = "https://backend-abc-ew.a.run.app"
DETERMINISTIC = f"https://backend-{NUMBER}.{REGION}.run.app"
ON_CLOUD_RUN = {"K_SERVICE": "frontend", "PRISM_PROJECT": NUMBER, "PRISM_REGION": REGION}


class TestTheOrderOfTheWays:
    """BACKEND, Cloud Run's answer, the address that follows from the names, this machine."""

    def test_backend_names_the_address(self) -> None:
        found = find({"BACKEND": "https://prism.example/"})
        assert found == Address("https://prism.example", Way.SETTING)

    def test_backend_comes_first_and_nobody_is_asked(self, api: AdminApi) -> None:
        found = find({**ON_CLOUD_RUN, "BACKEND": "https://prism.example"})
        assert found.how is Way.SETTING
        assert api.asked == []

    @pytest.mark.parametrize("environ", [{}, {"BACKEND": ""}, {"BACKEND": "  "}])
    def test_away_from_cloud_run_it_is_on_this_machine(
        self, environ: dict[str, str], api: AdminApi
    ) -> None:
        assert find(environ) == Address("http://localhost:8000", Way.DEFAULT)
        assert api.asked == []

    def test_on_cloud_run_it_is_what_the_admin_api_says(self, api: AdminApi) -> None:
        with metadata_server() as host:
            found = find({"K_SERVICE": "frontend", "GCE_METADATA_HOST": host})
        assert found == Address(FOUND, Way.CLOUD_RUN)

    def test_without_its_answer_it_is_what_follows_from_the_names(self, api: AdminApi) -> None:
        api.error = grpc.StatusCode.PERMISSION_DENIED
        found = find(ON_CLOUD_RUN)
        assert (found.url, found.how) == (DETERMINISTIC, Way.DETERMINISTIC)
        assert "run.services.get" in found.troubles[0]

    def test_where_nothing_is_known_it_is_on_this_machine(self, api: AdminApi) -> None:
        nowhere = {"K_SERVICE": "frontend", "GCE_METADATA_HOST": "127.0.0.1:1"}
        found = find(nowhere)
        assert (found.url, found.how) == (DEFAULT, Way.DEFAULT)
        assert found.troubles == ("The metadata server does not answer.",)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("BACKEND", "localhost:8000"),
        ("PRISM_BACKEND_SERVICE", "my backend"),
        ("PRISM_REGION", "evil.example/"),
        ("PRISM_PROJECT", "a/b"),
    ],
)
def test_a_wrong_setting_is_told_with_its_name(name: str, value: str) -> None:
    with pytest.raises(AddressError, match=rf"{name}.*{value}"):
        find({"K_SERVICE": "frontend", name: value})


class TestKeeping:
    """One search for all, and another one only where the backend does not answer."""

    def setup_method(self) -> None:
        self.now = 0.0
        self.searches = 0
        self.discovery = Discovery(self.search, interval=10, clock=lambda: self.now)

    def search(self, environ: Mapping[str, str]) -> Address:
        self.searches += 1
        return Address(f"https://{self.searches}.example", Way.CLOUD_RUN)

    def address(self) -> Address:
        return self.discovery.address(ON_CLOUD_RUN)

    def test_what_was_found_is_kept(self) -> None:
        first = self.address()
        self.now = 1e6
        assert self.address() == first
        assert self.searches == 1

    def test_a_backend_that_stops_answering_is_looked_for_again(self) -> None:
        first = self.address()
        self.now = 10
        self.discovery.doubt(first)
        assert self.address() != first
        assert self.searches == 2

    def test_but_not_at_every_look(self) -> None:
        first = self.address()
        self.now = 9
        self.discovery.doubt(first)
        assert self.address() == first
        self.now = 10
        assert self.address() != first

    def test_doubts_of_an_earlier_address_do_not_count(self) -> None:
        first = self.address()
        self.now = 10
        self.discovery.doubt(first)
        second = self.address()
        self.now = 30
        self.discovery.doubt(first)
        assert self.address() == second

    def test_a_setting_is_read_every_time(self) -> None:
        discovery = Discovery()
        for name in ("one", "two"):
            assert discovery.address({"BACKEND": f"https://{name}"}).url == f"https://{name}"


def test_no_step_may_take_longer_than_three_seconds() -> None:
    assert max(cloud_run.STEP, cloud_run.CALL, cloud_run.METADATA) <= 3
