"""Downloads over HTTPS, including redirects, from public IP addresses only.

Each host name is looked up once, all of its addresses are checked, and the connection uses a
checked address. This prevents DNS rebinding between check and connection.
"""

import ipaddress
import socket
from typing import Final
from urllib.parse import SplitResult, quote, unquote, urljoin, urlsplit, urlunsplit

from urllib3 import BaseHTTPResponse, HTTPConnectionPool, HTTPSConnectionPool, Timeout
from urllib3.exceptions import ConnectTimeoutError, HTTPError, NewConnectionError, SSLError
from urllib3.util import make_headers

from backend.inference.errors import SourceError, UnreachableError
from backend.sources import remote
from backend.sources.remote import DownloadFile, retry_unreachable

MAX_REDIRECTS: Final = 5

_PORTS: Final = {"https": 443, "http": 80}
_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
_NOT_FOUND: Final = frozenset({404, 410})
_FORBIDDEN: Final = frozenset({401, 403})
_TEMPORARY: Final = frozenset({408, 425, 429})
# IPv6 addresses of IPv4 hosts behind a NAT64 gateway (RFC 6052).
_NAT64: Final = ipaddress.ip_network("64:ff9b::/96")
# All IPv6 addresses that IANA assigns to networks. `is_global` also accepts others, for instance
# the deprecated site-local fec0::/10.
_GLOBAL_UNICAST: Final = ipaddress.ip_network("2000::/3")
# Accepted by `is_global`, but not hosts of the internet: services of the local gateway (RFC 6890),
# relays of 6to4 (RFC 7526), documentation (RFC 9637).
_SPECIAL_PURPOSE: Final = tuple(
    map(ipaddress.ip_network, ("192.0.0.0/24", "192.88.99.0/24", "3fff::/20"))
)
_TIMEOUT: Final = Timeout(connect=remote.CONNECT_SECONDS, read=remote.READ_SECONDS)

IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address
Origin = tuple[str, str, int]


class HttpsRemote:
    """The files below a URL; `allow_private` permits http and private addresses."""

    def __init__(self, url: str, *, allow_private: bool) -> None:
        self._base = urlsplit(url)
        self._allow_private = allow_private

    def download(self, name: str, file: DownloadFile, unless_version: str = "") -> str | None:
        """See `Remote.download`; the version is the ETag, or else the Last-Modified header."""
        return retry_unreachable(lambda: self._download(name, file, unless_version), file)

    def _download(self, name: str, file: DownloadFile, unless_version: str) -> str | None:
        path = f"{self._base.path.rstrip('/')}/{quote(name)}" if name else self._base.path
        url = self._base._replace(path=path, fragment="")
        with self._get(url, _condition(unless_version)) as response:
            if response.status == 304 and unless_version:
                return None
            _require_file(response)
            file.check_size(response.length_remaining)
            try:
                for chunk in response.stream(remote.CHUNK, decode_content=False):
                    file.write(chunk)
            except HTTPError as error:
                raise UnreachableError("the connection was interrupted") from error
            return response.headers.get("ETag") or response.headers.get("Last-Modified", "")

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
                raise SourceError("it redirects to an invalid URL") from None
        raise SourceError(f"it redirects more than {MAX_REDIRECTS} times")

    def _request(self, url: SplitResult, headers: dict[str, str]) -> BaseHTTPResponse:
        origin = scheme, host, port = self._origin(url)
        headers = {"Accept-Encoding": "identity", "Host": _host(origin)} | headers
        if self._base.username and origin == self._origin(self._base):
            credentials = f"{self._base.username}:{self._base.password or ''}"
            headers |= make_headers(basic_auth=unquote(credentials))
        target = urlunsplit(("", "", url.path or "/", url.query, ""))
        failure: HTTPError | None = None
        for ip in resolve_host(host, port, allow_private=self._allow_private):
            try:
                return _pool(scheme, ip, port, host).urlopen(
                    "GET", target, headers=headers, retries=False, redirect=False,
                    preload_content=False, decode_content=False,
                )  # fmt: skip
            except (NewConnectionError, ConnectTimeoutError) as error:
                failure = error
            except SSLError as error:
                raise UnreachableError(f"{host} has an invalid certificate") from error
            except HTTPError as error:
                raise UnreachableError(f"{host} does not respond") from error
        raise UnreachableError(f"cannot connect to {host}") from failure

    def _origin(self, url: SplitResult) -> Origin:
        """Return scheme, host and port; raise SourceError if the scheme is not allowed."""
        try:
            scheme, host, port = url.scheme.lower(), url.hostname or "", url.port
        except ValueError:
            raise SourceError("it redirects to an invalid URL") from None
        if not host or scheme not in _PORTS:
            raise SourceError(f"it redirects to {scheme or 'no'}://, which is not supported")
        if scheme == "http" and not self._allow_private:
            raise SourceError(
                f"http://{host} is not encrypted; use https, or set "
                "PRISM_ALLOW_PRIVATE_SOURCES=true on a trusted network"
            )
        return scheme, host, port or _PORTS[scheme]


def resolve_host(host: str, port: int, *, allow_private: bool) -> list[str]:
    """Return the IP addresses of `host`.

    Raise UnreachableError if it has none, SourceError if one of them is not public.
    """
    try:
        entries = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise UnreachableError(f"{host} cannot be resolved (DNS)") from error
    addresses = list(dict.fromkeys(str(entry[4][0]) for entry in entries))
    if not allow_private and not all(map(is_public, addresses)):
        raise SourceError(
            f"{host} has a private address; set PRISM_ALLOW_PRIVATE_SOURCES=true to allow it"
        )
    return addresses


def is_public(text: str) -> bool:
    """Return whether an IP address, and the IPv4 address it may embed, is global unicast."""
    try:
        address: IPAddress = ipaddress.ip_address(text)
    except ValueError:
        return False
    if isinstance(address, ipaddress.IPv6Address):
        embedded = address.ipv4_mapped or address.sixtofour or (address.teredo or (None,))[-1]
        if address in _NAT64:
            embedded = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        if embedded is not None:
            return is_public(str(embedded))
        if address not in _GLOBAL_UNICAST:
            return False
    if any(address in network for network in _SPECIAL_PURPOSE):
        return False
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
    is_etag = version.startswith(('"', "W/"))
    return {"If-None-Match" if is_etag else "If-Modified-Since": version}


def _require_file(response: BaseHTTPResponse) -> None:
    status = response.status
    if status in _NOT_FOUND:
        raise SourceError(f"not found (status {status})")
    if status in _FORBIDDEN:
        raise SourceError(f"access denied (status {status})")
    if status in _TEMPORARY or status >= 500:
        raise UnreachableError(f"the server responded with status {status}")
    if status != 200:
        raise SourceError(f"the server responded with status {status}")
