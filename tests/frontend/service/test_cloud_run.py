"""The questions to Cloud Run: Google's own clients against stand-ins for its servers."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import grpc
import pytest

from frontend.service import cloud_run
from frontend.service.cloud_run import Target, Trouble
from tests.conftest import ROOT, free_port
from tests.frontend.cloud import (
    NUMBER,
    REGION,
    TOKEN,
    AdminApi,
    admin_api,
    black_hole,
    metadata_server,
)

BACKEND = Target("backend", NUMBER, REGION, NUMBER)


class TestAsking:
    """One question to the Admin API."""

    def test_the_service_is_found(self, api: AdminApi) -> None:
        assert cloud_run.ask(BACKEND) == "https://backend-abc-ew.a.run.app"
        assert api.asked == [f"projects/{NUMBER}/locations/{REGION}/services/backend"]

    def test_a_service_that_is_not_there_is_told_with_the_setting(self, api: AdminApi) -> None:
        with pytest.raises(Trouble, match=r"knows no service api in .*PRISM_BACKEND_SERVICE"):
            cloud_run.ask(Target("api", NUMBER, REGION, NUMBER))

    @pytest.mark.parametrize(
        ("error", "says"),
        [
            (grpc.StatusCode.PERMISSION_DENIED, "permission run.services.get"),
            (grpc.StatusCode.UNAUTHENTICATED, "permission run.services.get"),
            (grpc.StatusCode.DEADLINE_EXCEEDED, "in time"),
            (grpc.StatusCode.UNAVAILABLE, "cannot be reached"),
            (grpc.StatusCode.INTERNAL, "could not be asked"),
        ],
    )
    def test_a_refusal_is_one_sentence_and_asked_once(
        self, api: AdminApi, error: grpc.StatusCode, says: str
    ) -> None:
        api.error = error
        with pytest.raises(Trouble, match=says) as caught:
            cloud_run.ask(BACKEND)
        assert "for its own reasons" not in str(caught.value)
        assert len(api.asked) == 1

    @pytest.mark.parametrize("bound", ["STEP", "CALL"])
    def test_a_slow_answer_is_not_waited_for(
        self, api: AdminApi, bound: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        cloud_run.ask(BACKEND)  # so that the library is there
        api.silent = True
        monkeypatch.setattr(cloud_run, bound, 0.2)
        began = time.monotonic()
        with pytest.raises(Trouble, match="does not answer in time"):
            cloud_run.ask(BACKEND)
        assert time.monotonic() - began < 2

    def test_a_dead_server_is_given_up(
        self, api: AdminApi, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        nobody = AdminApi(f"127.0.0.1:{free_port()}")
        monkeypatch.setattr(cloud_run, "connect", nobody.connect)
        began = time.monotonic()
        with pytest.raises(Trouble, match="Cloud Run"):
            cloud_run.ask(BACKEND)
        assert time.monotonic() - began < 3.5

    @pytest.mark.parametrize("error", [ImportError, TypeError])
    def test_a_library_that_does_not_load_is_told(
        self, monkeypatch: pytest.MonkeyPatch, error: type[Exception]
    ) -> None:
        def fail(_: str) -> None:
            raise error

        monkeypatch.setattr("importlib.import_module", fail)
        with pytest.raises(Trouble, match="library cannot be loaded"):
            cloud_run.ask(BACKEND)

    def test_a_library_that_loads_slowly_is_not_waited_for(
        self, api: AdminApi, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("importlib.import_module", lambda _: api.over.wait(timeout=30))
        monkeypatch.setattr(cloud_run, "STEP", 0.2)
        began = time.monotonic()
        with pytest.raises(Trouble, match="too long to load"):
            cloud_run.ask(BACKEND)
        assert time.monotonic() - began < 2

    @pytest.mark.parametrize("uri", ["", "nonsense"])
    def test_a_service_without_an_address_is_told(self, api: AdminApi, uri: str) -> None:
        api.services = dict.fromkeys(api.services, uri)
        with pytest.raises(Trouble, match="no address yet"):
            cloud_run.ask(BACKEND)


class TestTarget:
    """Which service to look for, and where."""

    def test_the_metadata_server_says_where_this_is(self) -> None:
        with metadata_server() as host:
            assert cloud_run.target({"GCE_METADATA_HOST": host}) == BACKEND

    def test_settings_come_before_it(self) -> None:
        environ = {
            "PRISM_BACKEND_SERVICE": "api",
            "PRISM_PROJECT": "77",
            "PRISM_REGION": "us-east1",
        }
        with black_hole() as host:
            found = cloud_run.target({**environ, "GCE_METADATA_HOST": host})
        assert found.name == "projects/77/locations/us-east1/services/api"
        assert cloud_run.deterministic_url(found) == "https://api-77.us-east1.run.app"

    def test_the_number_is_that_of_the_project_that_is_named(self) -> None:
        with metadata_server() as host:
            own = cloud_run.target({"GCE_METADATA_HOST": host, "PRISM_PROJECT": "demo"})
            other = cloud_run.target({"GCE_METADATA_HOST": host, "PRISM_PROJECT": "other"})
        assert (own.project, own.number) == ("demo", NUMBER)
        assert (other.project, other.number) == ("other", None)
        with pytest.raises(Trouble, match="number of the project other"):
            cloud_run.deterministic_url(other)

    def test_a_region_in_a_setting_replaces_that_of_this_service_alone(self) -> None:
        with metadata_server() as host:
            found = cloud_run.target({"GCE_METADATA_HOST": host, "PRISM_REGION": "us-east1"})
        assert found == Target("backend", NUMBER, "us-east1", NUMBER)

    def test_names_that_suffice_need_no_metadata_server(self) -> None:
        environ = {"PRISM_PROJECT": "demo", "PRISM_REGION": REGION}
        with black_hole() as host:
            found = cloud_run.target({**environ, "GCE_METADATA_HOST": host})
        assert found == Target("backend", "demo", REGION, None)

    def test_a_silent_metadata_server_is_given_up(self) -> None:
        began = time.monotonic()
        with black_hole() as host, pytest.raises(Trouble, match="metadata server"):
            cloud_run.target({"GCE_METADATA_HOST": host})
        assert time.monotonic() - began < 3.5


class TestCredentials:
    """A process of its own: google-auth reads its settings once, when it is imported."""

    def find(self, metadata: str, **environ: str) -> Any:
        done = subprocess.run(
            [sys.executable, "-m", "tests.frontend.find"],
            cwd=ROOT,
            env={
                "PATH": os.environ["PATH"],
                "K_SERVICE": "frontend",
                "GCE_METADATA_HOST": metadata,
                "GCE_METADATA_IP": metadata,
                **environ,
            },
            stdout=subprocess.PIPE,
            check=True,
            timeout=60,
        )
        return json.loads(done.stdout)

    def test_the_page_asks_with_its_own_account(self, tmp_path: Path) -> None:
        with admin_api(str(tmp_path / "api")) as api, metadata_server() as metadata:
            api.services[BACKEND.name] = "https://found.example"
            found = self.find(metadata, ADMIN_API=api.target)
        assert found["how"] == "found through Cloud Run"
        assert api.tokens == [f"Bearer {TOKEN}"]

    def test_without_credentials_it_goes_on_within_its_bounds(self) -> None:
        with black_hole() as metadata:
            found = self.find(metadata, PRISM_PROJECT=NUMBER, PRISM_REGION=REGION)
        assert found["url"] == f"https://backend-{NUMBER}.{REGION}.run.app"
        assert found["troubles"] == ["There are no credentials to ask Cloud Run with."]
        assert found["seconds"] < 6.5  # two steps: the library, the question
