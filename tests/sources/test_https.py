"""Files over HTTPS: from whom they are taken, and what goes to whom."""

import base64
import hashlib
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from urllib3.util import connection

from backend.inference.errors import SourceError, UnreachableError
from backend.sources.https import Https, is_public, resolve
from backend.sources.remote import Sink
from tests.conftest import free_port
from tests.sources.file_server import FileServer, Handler, serving, write_certificate

PUBLIC = "1.1.1.1"


@pytest.fixture
def sink(tmp_path: Path) -> Iterator[Sink]:
    with Sink(tmp_path / "taken", 1_000_000) as sink:
        yield sink


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1",
        "0.0.0.0", "224.0.0.1", "255.255.255.255", "240.0.0.1", "::1", "::", "fe80::1", "fc00::1",
        "ff02::1", "::ffff:10.0.0.1", "::ffff:169.254.169.254", "64:ff9b::a9fe:a9fe",
        "2002:a9fe:a9fe::1", "fd00:ec2::254",
    ],
)  # fmt: skip
def test_private_addresses_are_known_as_such(address: str) -> None:
    assert not is_public(address)


def test_public_addresses_are_known_as_such() -> None:
    for address in ("1.1.1.1", "142.250.185.80", "2606:4700::1111", "64:ff9b::101:101"):
        assert is_public(address)


def looked_up(monkeypatch: pytest.MonkeyPatch, *answers: list[str]) -> list[str]:
    """Answer each lookup of a name with the next of `answers`; returns the names looked up."""
    asked: list[str] = []
    real = socket.getaddrinfo

    def getaddrinfo(host: str, port: int, *rest: Any, **given: Any) -> list[Any]:
        if not host.endswith(".example"):
            return real(host, port, *rest, **given)
        asked.append(host)
        found = answers[min(len(asked), len(answers)) - 1]
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (ip, port)) for ip in found]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    return asked


def test_one_private_address_among_public_ones_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    looked_up(monkeypatch, ["1.1.1.1", "10.0.0.1"])
    with pytest.raises(SourceError, match="not a public address"):
        resolve("host.example", 443, allow_private=False)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "2130706433", "0x7f.1", "[::1]"])
def test_loopback_is_refused_however_it_is_written(
    host: str, server: FileServer, sink: Sink
) -> None:
    url = f"https://{host}:{server.server_port}/fake"
    with pytest.raises(SourceError, match="not a public address"):
        Https(url, allow_private=False).save("manifest.json", sink)
    assert not server.seen


@pytest.fixture
def connected(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The addresses that were connected to; the public one leads to loopback."""
    real = connection.create_connection
    addresses: list[str] = []

    def connect(address: tuple[str, int], *rest: Any, **given: Any) -> socket.socket:
        addresses.append(address[0])
        return real(("127.0.0.1", address[1]), *rest, **given)

    monkeypatch.setattr(connection, "create_connection", connect)
    return addresses


@pytest.fixture
def public(
    tmp_path: Path, connected: list[str], monkeypatch: pytest.MonkeyPatch
) -> Iterator[FileServer]:
    """A server with a certificate for `public.example`, at a public address."""
    certificate = write_certificate(tmp_path / "server.pem", "public.example")
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    real = socket.getaddrinfo

    def getaddrinfo(host: str, *rest: Any, **given: Any) -> Any:
        return real(PUBLIC if host.endswith(".example") else host, *rest, **given)

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    with serving(certificate) as server:
        server.files["fake/manifest.json"] = b"{}"
        yield server


def ask(
    server: FileServer, sink: Sink, host: str = "public.example", *, private: bool = False
) -> str | None:
    url = f"https://{host}:{server.server_port}/fake"
    return Https(url, allow_private=private).save("manifest.json", sink)


def test_a_public_host_is_asked_at_the_address_that_was_checked(
    public: FileServer, connected: list[str], sink: Sink
) -> None:
    version = ask(public, sink)
    assert sink.size == 2
    assert connected == [PUBLIC]
    assert public.seen[0][1]["Host"] == f"public.example:{public.server_port}"
    sink.restart()
    assert ask(public, sink) == version
    assert version is not None
    url = f"https://public.example:{public.server_port}/fake"
    assert Https(url, allow_private=False).save("manifest.json", sink, version) is None


def test_a_name_that_changes_its_mind_gains_nothing(
    public: FileServer, connected: list[str], sink: Sink, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = looked_up(monkeypatch, [PUBLIC], ["127.0.0.1"])
    ask(public, sink)
    assert (asked, connected) == (["public.example"], [PUBLIC])


def test_a_host_that_cannot_prove_its_name_is_not_trusted(
    public: FileServer, sink: Sink, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UnreachableError, match="certificate"):
        ask(public, sink, "other.example")
    monkeypatch.delenv("SSL_CERT_FILE")
    with pytest.raises(UnreachableError, match="certificate"):
        ask(public, sink)
    assert not public.seen


@pytest.mark.parametrize(
    ("target", "said"),
    [
        ("https://127.0.0.1/secret", "not a public address"),
        ("https://169.254.169.254/computeMetadata/v1/", "not a public address"),
        ("https://localhost/secret", "not a public address"),
        ("//10.0.0.1/secret", "not a public address"),
        ("http://public.example/secret", "not encrypted"),
        ("file:///etc/passwd", "not followed"),
        ("gs://bucket/a", "not followed"),
        ("https://[bad/", "not an address"),
        ("https://public.example:port/", "not an address"),
    ],
)
def test_a_redirect_is_checked_like_the_first_address(
    target: str, said: str, public: FileServer, connected: list[str], sink: Sink
) -> None:
    redirect(public, target)
    with pytest.raises(SourceError, match=said):
        ask(public, sink)
    assert connected == [PUBLIC]


def test_five_redirects_are_followed_and_no_more(public: FileServer, sink: Sink) -> None:
    for step in range(5):
        redirect(public, f"step{step + 1}", f"fake/step{step}")
    redirect(public, "step0")
    with pytest.raises(SourceError, match="more than 5 times"):
        ask(public, sink)
    redirect(public, "step1")
    public.files["fake/step5"] = b"here"
    ask(public, sink)
    assert sink.size == 4


def test_credentials_go_to_their_own_host_and_port_only(
    server: FileServer, published: Path, sink: Sink
) -> None:
    with serving() as other:
        other.publish(published, "fake")
        redirect(server, "moved")
        redirect(server, f"{other.url}/fake/manifest.json", "fake/moved")
        url = server.url.replace("//", "//me:s%40cret@")
        Https(f"{url}/fake", allow_private=True).save("manifest.json", sink)
    expected = "Basic " + base64.b64encode(b"me:s@cret").decode()
    assert [headers.get("Authorization") for _, headers in server.seen] == [expected] * 2
    assert [headers.get("Authorization") for _, headers in other.seen] == [None]


def redirect(server: FileServer, to: str, path: str = "fake/manifest.json") -> None:
    def answer(handler: Handler) -> None:
        handler.answer(302, Location=to)

    server.answers[path] = answer


def test_plain_http_and_private_addresses_need_to_be_allowed(
    server: FileServer, sink: Sink
) -> None:
    with pytest.raises(SourceError, match="PRISM_ALLOW_PRIVATE_SOURCES"):
        Https(f"{server.url}/fake", allow_private=False).save("manifest.json", sink)
    assert not server.seen
    Https(f"{server.url}/fake", allow_private=True).save("manifest.json", sink)
    assert sink.size > 0


def test_the_query_of_a_signed_url_goes_with_every_file(server: FileServer, sink: Sink) -> None:
    Https(f"{server.url}/fake/?token=a%2Fb", allow_private=True).save("manifest.json", sink)
    assert server.seen[0][0] == "/fake/manifest.json?token=a%2Fb"


@pytest.mark.parametrize(
    ("status", "error", "tries"),
    [(404, SourceError, 1), (403, SourceError, 1), (204, SourceError, 1), (206, SourceError, 1),
     (304, SourceError, 1), (429, UnreachableError, 3), (503, UnreachableError, 3)],
)  # fmt: skip
def test_only_what_may_pass_is_tried_again(
    status: int, error: type[SourceError], tries: int, server: FileServer, sink: Sink
) -> None:
    server.answers["fake/manifest.json"] = lambda handler: handler.answer(status)
    with pytest.raises(SourceError, match=str(status)) as caught:
        Https(f"{server.url}/fake", allow_private=True).save("manifest.json", sink)
    assert type(caught.value) is error
    assert len(server.seen) == tries


def test_a_second_attempt_begins_from_the_start(server: FileServer, sink: Sink) -> None:
    def once(handler: Handler) -> None:
        del server.answers["fake/manifest.json"]
        handler.begin(200, 1000)
        handler.wfile.write(b"half")

    server.answers["fake/manifest.json"] = once
    Https(f"{server.url}/fake", allow_private=True).save("manifest.json", sink)
    assert sink.size == len(server.files["fake/manifest.json"])
    assert sink.sha256 == hashlib.sha256(server.files["fake/manifest.json"]).hexdigest()


def test_a_dead_host_and_an_unknown_name_are_unreachable(sink: Sink) -> None:
    for url in (f"http://127.0.0.1:{free_port()}/a", "https://host.invalid/a"):
        with pytest.raises(UnreachableError):
            Https(url, allow_private=True).save("b", sink)
