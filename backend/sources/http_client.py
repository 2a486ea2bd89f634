"""HTTP requests to permitted hosts, over HTTPS, with redirects and credentials.

Each host name is looked up once, all of its addresses are checked, and the connection uses a
checked address. This prevents DNS rebinding between check and connection.
"""

import ipaddress
import json
import socket
import time
from typing import Any, Final
from urllib.parse import SplitResult, unquote, urljoin, urlsplit, urlunsplit

from urllib3 import BaseHTTPResponse, HTTPConnectionPool, HTTPSConnectionPool, Timeout
from urllib3.exceptions import ConnectTimeoutError, HTTPError, NewConnectionError, SSLError
from urllib3.util import make_headers

from backend.inference.errors import SourceError, UnreachableError
from backend.sources import remote
from backend.sources.remote import DownloadFile

MAX_REDIRECTS: Final = 5
MAX_JSON: Final = 4_000_000  # bytes
JSON_SECONDS: Final = 30.0  # to receive a JSON document

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


class HttpClient:
    """Requests that belong to one server; `allow_private` permits http and private addresses."""

    def __init__(self, server: str, *, allow_private: bool, authorization: str = "") -> None:
        """`server` is a URL.

        Only its origin receives the header `authorization`, or else the user name and the password
        of the URL.
        """
        self._server: Final = urlsplit(server)
        self._allow_private: Final = allow_private
        if not authorization and self._server.username:
            user = f"{self._server.username}:{self._server.password or ''}"
            authorization = make_headers(basic_auth=unquote(user))["authorization"]
        self._authorization: Final = authorization

    def open(self, url: str, headers: dict[str, str] | None = None) -> BaseHTTPResponse:
        """Return the response to a GET request after redirects, whatever its status is.

        Raise SourceError if a host or a scheme is not allowed, else UnreachableError.
        """
        target = urlsplit(url)._replace(fragment="")
        for _ in range(MAX_REDIRECTS + 1):
            response = self._request("GET", target, headers or {})
            location = response.headers.get("Location")
            if response.status not in _REDIRECTS or location is None:
                return response
            response.close()
            try:
                target = urlsplit(urljoin(urlunsplit(target), location))._replace(fragment="")
            except ValueError:
                raise SourceError("it redirects to an invalid URL") from None
        raise SourceError(f"it redirects more than {MAX_REDIRECTS} times")

    def download(self, url: str, file: DownloadFile, headers: dict[str, str] | None = None) -> str:
        """Write the response into `file`; return its ETag, or else its Last-Modified header."""
        with self.open(url, headers) as response:
            return save_response(response, file)

    def request_json(self, url: str, body: object = None) -> tuple[int, Any]:
        """Return the status of a GET request, or of a POST request with `body` as JSON.

        Also return the document that the response contains, if the status is 200. Raise
        UnreachableError for temporary failures, and SourceError if the response is not JSON or
        larger than `MAX_JSON`.
        """
        if body is None:
            response = self.open(url, {"Accept": "application/json"})
        else:
            headers = {"Accept": "application/json", "Content-Type": "application/json"}
            response = self._request("POST", urlsplit(url), headers, json.dumps(body).encode())
        with response:
            _check_availability(response.status)
            if response.status != 200:
                return response.status, None
            content = _read_bounded(response)
        try:
            return response.status, json.loads(content)
        except (ValueError, RecursionError):
            raise SourceError("the response is not JSON; check the URL of the server") from None

    def _request(
        self, method: str, url: SplitResult, headers: dict[str, str], body: bytes | None = None
    ) -> BaseHTTPResponse:
        origin = scheme, host, port = self._origin(url)
        headers = {"Accept-Encoding": "identity", "Host": _host(origin)} | headers
        if self._authorization and origin == self._origin(self._server):
            headers["Authorization"] = self._authorization
        target = urlunsplit(("", "", url.path or "/", url.query, ""))
        failure: HTTPError | None = None
        for ip in resolve_host(host, port, allow_private=self._allow_private):
            try:
                return _pool(scheme, ip, port, host).urlopen(
                    method, target, body=body, headers=headers, retries=False, redirect=False,
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


def is_http_url(url: str) -> bool:
    """Return whether a text is a URL with the scheme http or https and a host."""
    try:
        parts = urlsplit(url)
        return parts.scheme in _PORTS and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


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


def save_response(response: BaseHTTPResponse, file: DownloadFile) -> str:
    """Write a response into `file`; return its ETag, or else its Last-Modified header.

    Raise UnreachableError for a temporary failure; raise SourceError if the status is not 200.
    """
    _check_availability(response.status)
    if response.status in _FORBIDDEN:
        raise SourceError(f"access denied (status {response.status})")
    if response.status in _NOT_FOUND:
        raise SourceError(f"not found (status {response.status})")
    if response.status != 200:
        raise SourceError(f"the server responded with status {response.status}")
    file.check_size(response.length_remaining)
    try:
        for chunk in response.stream(remote.CHUNK, decode_content=False):
            file.write(chunk)
    except HTTPError as error:
        raise UnreachableError("the connection was interrupted") from error
    return response.headers.get("ETag") or response.headers.get("Last-Modified", "")


def _read_bounded(response: BaseHTTPResponse) -> bytes:
    """Return the body of at most `MAX_JSON` bytes that arrives within `JSON_SECONDS`."""
    content = bytearray()
    end = time.monotonic() + JSON_SECONDS
    try:
        while chunk := response.read1(remote.CHUNK, decode_content=False):
            content += chunk
            if len(content) > MAX_JSON:
                raise SourceError("the server sent a JSON document that is too large")
            if time.monotonic() > end:
                raise UnreachableError("the server responds too slowly")
    except HTTPError as error:
        raise UnreachableError("the connection was interrupted") from error
    return bytes(content)


def _check_availability(status: int) -> None:
    if status in _TEMPORARY or status >= 500:
        raise UnreachableError(f"the server responded with status {status}")
