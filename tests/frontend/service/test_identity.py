"""Authentication to a private backend, with real tokens and the real Google client."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from client import BackendError, Client
from frontend.service import identity
from frontend.service.cloud_run import STEP_TIMEOUT
from tests.client.fake_server import FakeResponse, serving
from tests.conftest import ROOT
from tests.frontend.cloud_run_fakes import unresponsive_server
from tests.frontend.private_backend import (
    AuthProxy,
    MetadataServer,
    run_auth_proxy,
    run_metadata_server,
)

AUDIENCE = "https://backend-abc-ew.a.run.app"
MODELS = len(list((Path(__file__).parents[3] / "models").glob("*/manifest.json")))
ON_CLOUD_RUN = {"K_SERVICE": "frontend"}


@dataclass
class PageProcess:
    """A separate process that sends requests as the page does."""

    stdin: IO[str]
    stdout: IO[str]

    def send_request(self) -> dict[str, Any]:
        self.stdin.write("request\n")
        self.stdin.flush()
        result: dict[str, Any] = json.loads(self.stdout.readline())
        return result


@contextmanager
def start_page(
    url: str, metadata_host: str, audience: str = AUDIENCE, **environ: str
) -> Iterator[PageProcess]:
    command = [sys.executable, "-m", "tests.frontend.run_private_client", url, audience]
    hosts = {"GCE_METADATA_HOST": metadata_host, "GCE_METADATA_IP": metadata_host}
    with subprocess.Popen(
        command,
        cwd=ROOT,
        env={**os.environ, **hosts, **environ},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdin
        assert process.stdout
        yield PageProcess(process.stdin, process.stdout)
        process.stdin.close()


@pytest.fixture
def metadata_server() -> Iterator[MetadataServer]:
    with run_metadata_server(MetadataServer()) as server:
        yield server


@pytest.fixture
def auth_proxy(metadata_server: MetadataServer, backend_url: str) -> AuthProxy:
    return AuthProxy(backend_url, AUDIENCE, metadata_server.certificates)


def test_one_token_serves_many_requests(
    metadata_server: MetadataServer, auth_proxy: AuthProxy
) -> None:
    with run_auth_proxy(auth_proxy) as url, start_page(url, metadata_server.host) as page:
        assert [page.send_request()["result"] for _ in range(5)] == [MODELS] * 5
    assert metadata_server.audiences == [AUDIENCE]
    assert len(set(auth_proxy.tokens)) == 1


def test_private_backend_rejects_requests_without_token(auth_proxy: AuthProxy) -> None:
    with (
        run_auth_proxy(auth_proxy) as url,
        Client(url) as client,
        pytest.raises(BackendError) as caught,
    ):
        client.models()
    assert caught.value.status == 403


def test_token_for_another_audience_is_rejected(
    metadata_server: MetadataServer, auth_proxy: AuthProxy
) -> None:
    with (
        run_auth_proxy(auth_proxy) as url,
        start_page(url, metadata_server.host, "https://another.run.app") as page,
    ):
        assert page.send_request()["result"] == "status 403"


def test_token_is_renewed_before_it_expires(
    metadata_server: MetadataServer, auth_proxy: AuthProxy
) -> None:
    metadata_server.ttl = 60  # less than the refresh threshold of Google's library
    with run_auth_proxy(auth_proxy) as url, start_page(url, metadata_server.host) as page:
        assert page.send_request()["result"] == MODELS
        assert page.send_request()["result"] == MODELS
    assert len(metadata_server.audiences) >= 2


def test_token_that_cannot_be_renewed_is_used_until_it_expires(
    metadata_server: MetadataServer, auth_proxy: AuthProxy
) -> None:
    metadata_server.ttl = 60
    with run_auth_proxy(auth_proxy) as url, start_page(url, metadata_server.host) as page:
        assert page.send_request()["result"] == MODELS
        metadata_server.is_down = True
        assert page.send_request()["result"] == MODELS


def test_metadata_request_bypasses_the_proxy(
    metadata_server: MetadataServer, auth_proxy: AuthProxy
) -> None:
    proxy = dict.fromkeys(("HTTP_PROXY", "http_proxy"), "http://127.0.0.1:9")
    with run_auth_proxy(auth_proxy) as url, start_page(url, metadata_server.host, **proxy) as page:
        assert page.send_request()["result"] == MODELS


@pytest.mark.parametrize("key", ["[]", '{"type": "impersonated_service_account"}', "no key"])
def test_invalid_key_file_is_logged_and_no_token_is_sent(
    key: str,
    auth_proxy: AuthProxy,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    file = tmp_path / "key.json"
    file.write_text(key)
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(file))
    with (
        run_auth_proxy(auth_proxy) as url,
        Client(url, auth=identity.IdTokenAuth(AUDIENCE)) as client,
        pytest.raises(BackendError, match="403"),
    ):
        client.models()
    assert "There is no ID token for this page" in caplog.text


def test_key_file_is_exchanged_through_the_proxy(
    auth_proxy: AuthProxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048).private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    account = {"type": "service_account", "client_email": "page@demo", "private_key": key.decode()}
    file = tmp_path / "key.json"
    file.write_text(json.dumps(account | {"token_uri": "http://oauth2.example/token"}))
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(file))
    with serving(FakeResponse(status=400)) as (proxy, requests), run_auth_proxy(auth_proxy) as url:
        monkeypatch.setenv("http_proxy", proxy)
        with (
            Client(url, auth=identity.IdTokenAuth(AUDIENCE)) as client,
            pytest.raises(BackendError, match="403"),
        ):
            client.models()
    assert [one.path for one in requests] == ["http://oauth2.example/token"]


def test_silent_metadata_server_times_out_and_is_not_retried_at_once(
    metadata_server: MetadataServer, auth_proxy: AuthProxy
) -> None:
    with (
        run_auth_proxy(auth_proxy) as url,
        unresponsive_server() as host,
        start_page(url, host) as page,
    ):
        first, second = page.send_request(), page.send_request()
    assert first["result"] == second["result"] == "status 403"
    assert first["seconds"] < 2 * STEP_TIMEOUT
    assert second["seconds"] < STEP_TIMEOUT / 3


@pytest.mark.parametrize(
    ("url", "environ", "audience"),
    [
        (AUDIENCE, ON_CLOUD_RUN, AUDIENCE),
        (f"{AUDIENCE}/path/", ON_CLOUD_RUN, AUDIENCE),
        (AUDIENCE, {"GOOGLE_APPLICATION_CREDENTIALS": "key.json"}, AUDIENCE),
        ("https://my.domain", {**ON_CLOUD_RUN, "BACKEND_AUDIENCE": AUDIENCE}, AUDIENCE),
        ("http://backend:8000", ON_CLOUD_RUN, None),
        (AUDIENCE, {}, None),
    ],
)
def test_auth_requires_an_identity_and_https(
    url: str, environ: dict[str, str], audience: str | None
) -> None:
    auth = identity.create_auth(url, environ)
    assert (auth.audience if auth else None) == audience
