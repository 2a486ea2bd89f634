"""Files over HTTPS, from public addresses only, redirects included.

A name is looked up once, every address it has is checked, and the connection goes to a checked
address, so that a name that changes its mind between check and connection gains nothing.
"""

import ipaddress
import socket
from typing import Final
from urllib.parse import SplitResult, quote, unquote, urljoin, urlsplit, urlunsplit

from urllib3 import BaseHTTPResponse, HTTPConnectionPool, HTTPSConnectionPool, Timeout
from urllib3.exceptions import ConnectTimeoutError, HTTPError, NewConnectionError, SSLError
from urllib3.util import make_headers

from backend.inference.errors import SourceError, UnreachableError
from backend.sources.remote import CHUNK, CONNECT_SECONDS, READ_SECONDS, Sink, persist

MAX_REDIRECTS: Final = 5

_PORTS: Final = {"https": 443, "http": 80}
_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
_GONE: Final = frozenset({404, 410})
_FORBIDDEN: Final = frozenset({401, 403})
_LATER: Final = frozenset({408, 425, 429})
# IPv6 addresses that stand for IPv4 ones, reached through a gateway (RFC 6052).
_NAT64: Final = ipaddress.ip_network("64:ff9b::/96")
_TIMEOUT: Final = Timeout(connect=CONNECT_SECONDS, read=READ_SECONDS)

IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address
Origin = tuple[str, str, int]


class Https:
    """What lies under a URL; with `allow_private` http and private addresses as well."""

    def __init__(self, url: str, *, allow_private: bool) -> None:
        self._base = urlsplit(url)
        self._allow_private = allow_private

    def save(self, name: str, sink: Sink, unless: str = "") -> str | None:
        """As `Remote.save`; the version is the ETag, else the time of change."""
        return persist(lambda: self._save(name, sink, unless), sink)

    def _save(self, name: str, sink: Sink, unless: str) -> str | None:
        path = f"{self._base.path.rstrip('/')}/{quote(name)}" if name else self._base.path
        with self._get(self._base._replace(path=path, fragment=""), _condition(unless)) as response:
            if response.status == 304 and unless:
                return None
            _require_file(response)
            sink.expect(response.length_remaining)
            try:
                for chunk in response.stream(CHUNK, decode_content=False):
                    sink.write(chunk)
            except HTTPError as error:
                raise UnreachableError("the connection broke off") from error
            etag, changed = (response.headers.get(key, "") for key in ("ETag", "Last-Modified"))
            return etag or changed

    def _get(self, url: SplitResult, headers: dict[str, str]) -> BaseHTTPResponse:
        for _ in range(MAX_REDIRECTS + 1):
            response = self._request(url, headers)
            target = response.headers.get("Location")
            if response.status not in _REDIRECTS or target is None:
                return response
            response.close()
            try:
                url = urlsplit(urljoin(urlunsplit(url), target))._replace(fragment="")
            except ValueError:
                raise SourceError("it redirects to something that is not an address") from None
        raise SourceError(f"it redirects more than {MAX_REDIRECTS} times")

    def _request(self, url: SplitResult, headers: dict[str, str]) -> BaseHTTPResponse:
        origin = scheme, host, port = self._origin(url)
        headers = {"Accept-Encoding": "identity", "Host": _host(origin)} | headers
        if self._base.username and origin == self._origin(self._base):
            credentials = f"{self._base.username}:{self._base.password or ''}"
            headers |= make_headers(basic_auth=unquote(credentials))
        target = urlunsplit(("", "", url.path or "/", url.query, ""))
        failure: HTTPError | None = None
        for ip in resolve(host, port, allow_private=self._allow_private):
            try:
                return _pool(scheme, ip, port, host).urlopen(
                    "GET", target, headers=headers, retries=False, redirect=False,
                    preload_content=False, decode_content=False,
                )  # fmt: skip
            except (NewConnectionError, ConnectTimeoutError) as error:
                failure = error
            except SSLError as error:
                raise UnreachableError(f"{host} cannot prove who it is (certificate)") from error
            except HTTPError as error:
                raise UnreachableError(f"{host} does not answer") from error
        raise UnreachableError(f"{host} cannot be connected to") from failure

    def _origin(self, url: SplitResult) -> Origin:
        """Scheme, host and port; raises SourceError where the scheme is not allowed."""
        try:
            scheme, host, port = url.scheme.lower(), url.hostname or "", url.port
        except ValueError:
            raise SourceError("it leads to something that is not an address") from None
        if not host or scheme not in _PORTS:
            raise SourceError(f"it leads to {scheme or 'no'}://, which is not followed")
        if scheme == "http" and not self._allow_private:
            raise SourceError(
                f"http://{host} is not encrypted; use https, or set "
                "PRISM_ALLOW_PRIVATE_SOURCES=true where the network is your own"
            )
        return scheme, host, port or _PORTS[scheme]


def resolve(host: str, port: int, *, allow_private: bool) -> list[str]:
    """Look up the addresses of `host`.

    Raises UnreachableError where it has none, SourceError where one of them is not public.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise UnreachableError(f"{host} is not known (name lookup)") from error
    addresses = list(dict.fromkeys(str(entry[4][0]) for entry in found))
    if not allow_private and not all(map(is_public, addresses)):
        raise SourceError(
            f"{host} is not a public address; set PRISM_ALLOW_PRIVATE_SOURCES=true to allow it"
        )
    return addresses


def is_public(text: str) -> bool:
    """Whether an IP address is global unicast, and so is the IPv4 address that it may stand for."""
    address: IPAddress = ipaddress.ip_address(text)
    if isinstance(address, ipaddress.IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour or (address.teredo or (None,))[-1]
        if address in _NAT64:
            inner = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        if inner is not None:
            return is_public(str(inner))
    return address.is_global and not address.is_multicast and not address.is_reserved


def _pool(scheme: str, ip: str, port: int, host: str) -> HTTPConnectionPool:
    literal = f"[{ip}]" if ":" in ip else ip
    if scheme == "http":
        return HTTPConnectionPool(literal, port, timeout=_TIMEOUT)
    return HTTPSConnectionPool(
        literal, port, timeout=_TIMEOUT, server_hostname=host, assert_hostname=host
    )


def _host(origin: Origin) -> str:
    scheme, host, port = origin
    literal = f"[{host}]" if ":" in host else host
    return literal if port == _PORTS[scheme] else f"{literal}:{port}"


def _condition(version: str) -> dict[str, str]:
    if not version:
        return {}
    tag = version.startswith(('"', "W/"))
    return {"If-None-Match" if tag else "If-Modified-Since": version}


def _require_file(response: BaseHTTPResponse) -> None:
    status = response.status
    if status in _GONE:
        raise SourceError(f"there is nothing at this address (status {status})")
    if status in _FORBIDDEN:
        raise SourceError(f"it may not be read (status {status})")
    if status in _LATER or status >= 500:
        raise UnreachableError(f"the server answers with status {status}")
    if status != 200:
        raise SourceError(f"the server answers with status {status}")
