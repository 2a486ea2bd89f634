"""Cloud Run lookups: Google's own clients against fake servers."""

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
from frontend.service.cloud_run import DiscoveryError, Target
from tests.conftest import ROOT, free_port
from tests.frontend.cloud_run_fakes import (
    NUMBER,
    REGION,
    TOKEN,
    AdminApi,
    admin_api,
    metadata_server,
    unresponsive_server,
)

BACKEND = Target("backend", NUMBER, REGION, NUMBER)


class TestGetServiceUrl:
    """A request to the Admin API."""

    def test_service_is_found(self, api: AdminApi) -> None:
        assert cloud_run.get_service_url(BACKEND) == "https://backend-abc-ew.a.run.app"
        assert api.requests == [f"projects/{NUMBER}/locations/{REGION}/services/backend"]

    def test_missing_service_error_names_the_setting(self, api: AdminApi) -> None:
        with pytest.raises(DiscoveryError, match=r"has no service api in .*PRISM_BACKEND_SERVICE"):
            cloud_run.get_service_url(Target("api", NUMBER, REGION, NUMBER))

    @pytest.mark.parametrize(
        ("error", "message"),
        [
            (grpc.StatusCode.PERMISSION_DENIED, "permission run.services.get"),
            (grpc.StatusCode.UNAUTHENTICATED, "permission run.services.get"),
            (grpc.StatusCode.DEADLINE_EXCEEDED, "in time"),
            (grpc.StatusCode.UNAVAILABLE, "unreachable"),
            (grpc.StatusCode.INTERNAL, "request failed"),
        ],
    )
    def test_error_is_one_sentence_and_not_retried(
        self, api: AdminApi, error: grpc.StatusCode, message: str
    ) -> None:
        api.error = error
        with pytest.raises(DiscoveryError, match=message) as caught:
            cloud_run.get_service_url(BACKEND)
        assert "internal details" not in str(caught.value)
        assert len(api.requests) == 1

    @pytest.mark.parametrize("timeout", ["STEP_TIMEOUT", "API_TIMEOUT"])
    def test_slow_response_times_out(
        self, api: AdminApi, timeout: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        cloud_run.get_service_url(BACKEND)  # loads the library
        api.is_silent = True
        monkeypatch.setattr(cloud_run, timeout, 0.2)
        began = time.monotonic()
        with pytest.raises(DiscoveryError, match="does not respond in time"):
            cloud_run.get_service_url(BACKEND)
        assert time.monotonic() - began < 20

    def test_unreachable_server_fails(self, api: AdminApi, monkeypatch: pytest.MonkeyPatch) -> None:
        unreachable = AdminApi(f"127.0.0.1:{free_port()}")
        monkeypatch.setattr(cloud_run, "connect", unreachable.connect)
        began = time.monotonic()
        with pytest.raises(DiscoveryError, match="Cloud Run"):
            cloud_run.get_service_url(BACKEND)
        assert time.monotonic() - began < 20

    @pytest.mark.parametrize("error", [ImportError, TypeError])
    def test_missing_library_is_reported(
        self, monkeypatch: pytest.MonkeyPatch, error: type[Exception]
    ) -> None:
        def fail(_: str) -> None:
            raise error

        monkeypatch.setattr("importlib.import_module", fail)
        with pytest.raises(DiscoveryError, match="library cannot be loaded"):
            cloud_run.get_service_url(BACKEND)

    def test_slow_library_import_times_out(
        self, api: AdminApi, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("importlib.import_module", lambda _: api.stopped.wait(timeout=30))
        monkeypatch.setattr(cloud_run, "STEP_TIMEOUT", 0.2)
        began = time.monotonic()
        with pytest.raises(DiscoveryError, match="too long to load"):
            cloud_run.get_service_url(BACKEND)
        assert time.monotonic() - began < 20

    @pytest.mark.parametrize("uri", ["", "nonsense"])
    def test_service_without_url_is_reported(self, api: AdminApi, uri: str) -> None:
        api.services = dict.fromkeys(api.services, uri)
        with pytest.raises(DiscoveryError, match="no URL yet"):
            cloud_run.get_service_url(BACKEND)


class TestFindTarget:
    """The service to look up."""

    def test_metadata_server_provides_project_and_region(self) -> None:
        with metadata_server() as host:
            assert cloud_run.find_target({"GCE_METADATA_HOST": host}) == BACKEND

    def test_settings_take_precedence(self) -> None:
        environ = {
            "PRISM_BACKEND_SERVICE": "api",
            "PRISM_PROJECT": "77",
            "PRISM_REGION": "us-east1",
        }
        with unresponsive_server() as host:
            found = cloud_run.find_target({**environ, "GCE_METADATA_HOST": host})
        assert found.name == "projects/77/locations/us-east1/services/api"
        assert cloud_run.deterministic_url(found) == "https://api-77.us-east1.run.app"

    def test_project_number_is_known_for_own_project_only(self) -> None:
        with metadata_server() as host:
            own = cloud_run.find_target({"GCE_METADATA_HOST": host, "PRISM_PROJECT": "demo"})
            other = cloud_run.find_target({"GCE_METADATA_HOST": host, "PRISM_PROJECT": "other"})
        assert (own.project, own.project_number) == ("demo", NUMBER)
        assert (other.project, other.project_number) == ("other", None)
        with pytest.raises(DiscoveryError, match="number of the project other"):
            cloud_run.deterministic_url(other)

    def test_region_setting_replaces_only_the_region(self) -> None:
        with metadata_server() as host:
            found = cloud_run.find_target({"GCE_METADATA_HOST": host, "PRISM_REGION": "us-east1"})
        assert found == Target("backend", NUMBER, "us-east1", NUMBER)

    def test_complete_settings_need_no_metadata_server(self) -> None:
        environ = {"PRISM_PROJECT": "demo", "PRISM_REGION": REGION}
        with unresponsive_server() as host:
            found = cloud_run.find_target({**environ, "GCE_METADATA_HOST": host})
        assert found == Target("backend", "demo", REGION, None)

    def test_silent_metadata_server_times_out(self) -> None:
        began = time.monotonic()
        with unresponsive_server() as host, pytest.raises(DiscoveryError, match="metadata server"):
            cloud_run.find_target({"GCE_METADATA_HOST": host})
        assert time.monotonic() - began < 20


class TestCredentials:
    """In a separate process: google-auth reads its settings once, on import."""

    def run_discovery(self, metadata: str, **environ: str) -> Any:
        done = subprocess.run(
            [sys.executable, "-m", "tests.frontend.run_discovery"],
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

    def test_api_request_carries_token_of_service_account(self, tmp_path: Path) -> None:
        with admin_api(str(tmp_path / "api")) as api, metadata_server() as metadata:
            api.services[BACKEND.name] = "https://found.example"
            found = self.run_discovery(metadata, ADMIN_API=api.target)
        assert found["source"] == "found through Cloud Run"
        assert api.tokens == [f"Bearer {TOKEN}"]

    def test_missing_credentials_fall_back_within_timeouts(self) -> None:
        with unresponsive_server() as metadata:
            found = self.run_discovery(metadata, PRISM_PROJECT=NUMBER, PRISM_REGION=REGION)
        assert found["url"] == f"https://backend-{NUMBER}.{REGION}.run.app"
        assert found["warnings"] == ["There are no credentials for the Cloud Run API."]
        assert found["seconds"] < 25  # the defaults of google-auth take longer
