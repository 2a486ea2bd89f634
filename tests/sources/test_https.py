"""Downloads over HTTPS: permitted hosts, redirects and credentials."""

import base64
import hashlib
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from urllib3.util import connection

from backend.inference.errors import SourceError, UnreachableError
from backend.sources.http_client import is_public, resolve_host
from backend.sources.https import HttpsRemote
from backend.sources.remote import DownloadFile
from tests.conftest import free_port
from tests.sources.file_server import FileServer, Handler, serving, write_certificate

PUBLIC = "1.1.1.1"


@pytest.fixture
def file(tmp_path: Path) -> Iterator[DownloadFile]:
    with DownloadFile(tmp_path / "download", 1_000_000) as file:
        yield file


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1",
        "0.0.0.0", "224.0.0.1", "255.255.255.255", "240.0.0.1", "::1", "::", "fe80::1", "fc00::1",
        "ff02::1", "::ffff:10.0.0.1", "::ffff:169.254.169.254", "64:ff9b::a9fe:a9fe",
        "2002:a9fe:a9fe::1", "fd00:ec2::254", "fec0::1", "feff::1", "fe80::1%eth0",
        "64:ff9b::a00:1", "64:ff9b:1::101:101", "2002:a00:1::1", "2001:0:101:101::f5ff:fffe",
        "::10.0.0.1", "::1.1.1.1", "::ffff:0:10.0.0.1", "4000::1", "3fff::1", "2001:db8::1",
        "192.0.0.9", "192.88.99.1", "198.18.0.1", "239.1.1.1", "ff0e::1", "not an address",
    ],
)  # fmt: skip
def test_private_addresses_are_not_public(address: str) -> None:
    assert not is_public(address)


def test_public_addresses_are_public() -> None:
    for address in (
        "1.1.1.1",
        "142.250.185.80",
        "2606:4700::1111",
        "64:ff9b::101:101",
        "::ffff:1.1.1.1",
    ):
        assert is_public(address)


def fake_dns(monkeypatch: pytest.MonkeyPatch, *answers: list[str]) -> list[str]:
    """Resolve each lookup to the next of `answers`; return the list of resolved names."""
    names: list[str] = []
    real = socket.getaddrinfo

    def getaddrinfo(host: str, port: int, *args: Any, **kwargs: Any) -> list[Any]:
        if not host.endswith(".example"):
            return real(host, port, *args, **kwargs)
        names.append(host)
        addresses = answers[min(len(names), len(answers)) - 1]
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (ip, port)) for ip in addresses]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    return names


def test_host_with_one_private_address_is_rejected(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fake_dns(monkeypatch, ["1.1.1.1", "10.0.0.1"])
    with pytest.raises(SourceError, match="has a private address"):
        resolve_host("host.example", 443, allow_private=False)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "2130706433", "0x7f.1", "[::1]"])
def test_all_notations_of_loopback_are_rejected(
    host: str, server: FileServer, file: DownloadFile
) -> None:
    url = f"https://{host}:{server.server_port}/fake"
    with pytest.raises(SourceError, match="has a private address"):
        HttpsRemote(url, allow_private=False).download("manifest.json", file)
    assert not server.requests


@pytest.fixture
def connected(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The addresses of connections, all of which are redirected to loopback."""
    real = connection.create_connection
    addresses: list[str] = []

    def connect(address: tuple[str, int], *args: Any, **kwargs: Any) -> socket.socket:
        addresses.append(address[0])
        return real(("127.0.0.1", address[1]), *args, **kwargs)

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

    def getaddrinfo(host: str, *args: Any, **kwargs: Any) -> Any:
        return real(PUBLIC if host.endswith(".example") else host, *args, **kwargs)

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    with serving(certificate) as server:
        server.files["fake/manifest.json"] = b"{}"
        yield server


def download(
    server: FileServer, file: DownloadFile, host: str = "public.example", *, private: bool = False
) -> str | None:
    url = f"https://{host}:{server.server_port}/fake"
    return HttpsRemote(url, allow_private=private).download("manifest.json", file)


def test_connection_uses_the_checked_address(
    public: FileServer, connected: list[str], file: DownloadFile
) -> None:
    version = download(public, file)
    assert file.size == 2
    assert connected == [PUBLIC]
    assert public.requests[0][1]["Host"] == f"public.example:{public.server_port}"
    file.restart()
    assert download(public, file) == version
    assert version is not None
    url = f"https://public.example:{public.server_port}/fake"
    assert HttpsRemote(url, allow_private=False).download("manifest.json", file, version) is None


def test_dns_rebinding_has_no_effect(
    public: FileServer, connected: list[str], file: DownloadFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = fake_dns(monkeypatch, [PUBLIC], ["127.0.0.1"])
    download(public, file)
    assert (names, connected) == (["public.example"], [PUBLIC])


def test_invalid_certificate_is_rejected(
    public: FileServer, file: DownloadFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UnreachableError, match="certificate"):
        download(public, file, "other.example")
    monkeypatch.delenv("SSL_CERT_FILE")
    with pytest.raises(UnreachableError, match="certificate"):
        download(public, file)
    assert not public.requests


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("https://127.0.0.1/secret", "has a private address"),
        ("https://169.254.169.254/computeMetadata/v1/", "has a private address"),
        ("https://localhost/secret", "has a private address"),
        ("//10.0.0.1/secret", "has a private address"),
        ("http://public.example/secret", "not encrypted"),
        ("file:///etc/passwd", "not supported"),
        ("gs://bucket/a", "not supported"),
        ("https://[bad/", "invalid URL"),
        ("https://public.example:port/", "invalid URL"),
    ],
)
def test_redirect_target_is_checked(
    target: str, message: str, public: FileServer, connected: list[str], file: DownloadFile
) -> None:
    redirect(public, target)
    with pytest.raises(SourceError, match=message):
        download(public, file)
    assert connected == [PUBLIC]


def test_at_most_five_redirects_are_followed(public: FileServer, file: DownloadFile) -> None:
    for step in range(5):
        redirect(public, f"step{step + 1}", f"fake/step{step}")
    redirect(public, "step0")
    with pytest.raises(SourceError, match="more than 5 times"):
        download(public, file)
    redirect(public, "step1")
    public.files["fake/step5"] = b"here"
    download(public, file)
    assert file.size == 4


def test_credentials_are_sent_to_their_host_and_port_only(
    server: FileServer, published: Path, file: DownloadFile
) -> None:
    with serving() as other:
        other.publish(published, "fake")
        redirect(server, "moved")
        redirect(server, f"{other.url}/fake/manifest.json", "fake/moved")
        url = server.url.replace("//", "//me:s%40cret@")
        HttpsRemote(f"{url}/fake", allow_private=True).download("manifest.json", file)
    expected = "Basic " + base64.b64encode(b"me:s@cret").decode()
    assert [headers.get("Authorization") for _, headers in server.requests] == [expected] * 2
    assert [headers.get("Authorization") for _, headers in other.requests] == [None]


def redirect(server: FileServer, target: str, path: str = "fake/manifest.json") -> None:
    def respond(handler: Handler) -> None:
        handler.respond(302, Location=target)

    server.responders[path] = respond


def test_http_and_private_addresses_require_permission(
    server: FileServer, file: DownloadFile
) -> None:
    with pytest.raises(SourceError, match="PRISM_ALLOW_PRIVATE_SOURCES"):
        HttpsRemote(f"{server.url}/fake", allow_private=False).download("manifest.json", file)
    assert not server.requests
    HttpsRemote(f"{server.url}/fake", allow_private=True).download("manifest.json", file)
    assert file.size > 0


def test_query_of_a_signed_url_is_sent_with_every_file(
    server: FileServer, file: DownloadFile
) -> None:
    HttpsRemote(f"{server.url}/fake/?token=a%2Fb", allow_private=True).download(
        "manifest.json", file
    )
    assert server.requests[0][0] == "/fake/manifest.json?token=a%2Fb"


@pytest.mark.parametrize(
    ("status", "error", "attempts"),
    [(404, SourceError, 1), (403, SourceError, 1), (204, SourceError, 1), (206, SourceError, 1),
     (304, SourceError, 1), (429, UnreachableError, 3), (503, UnreachableError, 3)],
)  # fmt: skip
def test_only_temporary_errors_are_retried(
    status: int, error: type[SourceError], attempts: int, server: FileServer, file: DownloadFile
) -> None:
    server.responders["fake/manifest.json"] = lambda handler: handler.respond(status)
    with pytest.raises(SourceError, match=str(status)) as caught:
        HttpsRemote(f"{server.url}/fake", allow_private=True).download("manifest.json", file)
    assert type(caught.value) is error
    assert len(server.requests) == attempts


def test_retry_starts_from_the_beginning(server: FileServer, file: DownloadFile) -> None:
    def interrupt_once(handler: Handler) -> None:
        del server.responders["fake/manifest.json"]
        handler.send_head(200, 1000)
        handler.wfile.write(b"half")

    server.responders["fake/manifest.json"] = interrupt_once
    HttpsRemote(f"{server.url}/fake", allow_private=True).download("manifest.json", file)
    assert file.size == len(server.files["fake/manifest.json"])
    assert file.sha256 == hashlib.sha256(server.files["fake/manifest.json"]).hexdigest()


def test_closed_port_and_unknown_host_are_unreachable(file: DownloadFile) -> None:
    for url in (f"http://127.0.0.1:{free_port()}/a", "https://host.invalid/a"):
        with pytest.raises(UnreachableError):
            HttpsRemote(url, allow_private=True).download("b", file)
