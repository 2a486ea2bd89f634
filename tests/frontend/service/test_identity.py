"""A private backend, and who this page is: real tokens, the real Google client."""

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
from frontend.service.cloud_run import STEP
from tests.client.fake_server import FakeResponse, serving
from tests.conftest import ROOT
from tests.frontend.cloud import black_hole
from tests.frontend.guard import Guard, Metadata, guarded, metadata

AUDIENCE = "https://backend-abc-ew.a.run.app"
ON_CLOUD_RUN = {"K_SERVICE": "frontend"}


@dataclass
class Asker:
    """A page in a process of its own."""

    question: IO[str]
    answer: IO[str]

    def ask(self) -> dict[str, Any]:
        self.question.write("once more\n")
        self.question.flush()
        said: dict[str, Any] = json.loads(self.answer.readline())
        return said


@contextmanager
def page(url: str, metadata_host: str, audience: str = AUDIENCE, **environ: str) -> Iterator[Asker]:
    command = [sys.executable, "-m", "tests.frontend.private", url, audience]
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
        yield Asker(process.stdin, process.stdout)
        process.stdin.close()


@pytest.fixture
def google() -> Iterator[Metadata]:
    with metadata(Metadata()) as server:
        yield server


@pytest.fixture
def guard(google: Metadata, backend_url: str) -> Guard:
    return Guard(backend_url, AUDIENCE, google.certificates)


def test_a_private_backend_answers_the_page_with_one_token_for_many_questions(
    google: Metadata, guard: Guard
) -> None:
    with guarded(guard) as url, page(url, google.host) as asker:
        assert [asker.ask()["said"] for _ in range(5)] == [3] * 5
    assert google.audiences == [AUDIENCE]
    assert len(set(guard.seen)) == 1


def test_without_an_identity_a_private_backend_is_closed(guard: Guard) -> None:
    with guarded(guard) as url, Client(url) as client, pytest.raises(BackendError) as caught:
        client.models()
    assert caught.value.status == 403


def test_a_token_for_another_backend_opens_nothing(google: Metadata, guard: Guard) -> None:
    with guarded(guard) as url, page(url, google.host, "https://another.run.app") as asker:
        assert asker.ask()["said"] == "status 403"


def test_a_token_is_renewed_before_it_expires(google: Metadata, guard: Guard) -> None:
    google.ttl = 60  # less than what Google's library wants to be left
    with guarded(guard) as url, page(url, google.host) as asker:
        assert asker.ask()["said"] == 3
        assert asker.ask()["said"] == 3
    assert len(google.audiences) >= 2


def test_a_token_that_cannot_be_renewed_is_used_to_its_end(google: Metadata, guard: Guard) -> None:
    google.ttl = 60
    with guarded(guard) as url, page(url, google.host) as asker:
        assert asker.ask()["said"] == 3
        google.is_down = True
        assert asker.ask()["said"] == 3


def test_no_proxy_is_asked_for_a_token_of_this_page(google: Metadata, guard: Guard) -> None:
    proxy = dict.fromkeys(("HTTP_PROXY", "http_proxy"), "http://127.0.0.1:9")
    with guarded(guard) as url, page(url, google.host, **proxy) as asker:
        assert asker.ask()["said"] == 3


@pytest.mark.parametrize("key", ["[]", '{"type": "impersonated_service_account"}', "no key"])
def test_a_key_file_that_is_none_is_logged_and_the_page_asks_without(
    key: str,
    guard: Guard,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    file = tmp_path / "key.json"
    file.write_text(key)
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(file))
    with (
        guarded(guard) as url,
        Client(url, auth=identity.Identity(AUDIENCE)) as client,
        pytest.raises(BackendError, match="403"),
    ):
        client.models()
    assert "There is no ID token for this page" in caplog.text


def test_a_key_file_is_exchanged_through_the_proxy(
    guard: Guard, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
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
    with serving(FakeResponse(status=400)) as (proxy, asked), guarded(guard) as url:
        monkeypatch.setenv("http_proxy", proxy)
        with (
            Client(url, auth=identity.Identity(AUDIENCE)) as client,
            pytest.raises(BackendError, match="403"),
        ):
            client.models()
    assert [one.path for one in asked] == ["http://oauth2.example/token"]


def test_a_silent_metadata_server_costs_little_and_is_not_asked_at_every_question(
    google: Metadata, guard: Guard
) -> None:
    with guarded(guard) as url, black_hole() as host, page(url, host) as asker:
        first, second = asker.ask(), asker.ask()
    assert first["said"] == second["said"] == "status 403"
    assert first["seconds"] < 2 * STEP
    assert second["seconds"] < STEP / 3


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
def test_an_identity_is_shown_only_by_who_has_one_and_only_over_https(
    url: str, environ: dict[str, str], audience: str | None
) -> None:
    found = identity.of(url, environ)
    assert (found.audience if found else None) == audience
