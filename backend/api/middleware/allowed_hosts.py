"""Protection of a service on localhost or in a private network against other websites.

A website can let the browser send requests to this service: under its own name, which resolves to
this machine (DNS rebinding), or from its own pages (cross-site requests). The headers Host, Origin
and Sec-Fetch-Site, which pages cannot change, give both away.
"""

from collections.abc import Collection
from functools import lru_cache
from typing import Final
from urllib.parse import urlsplit

from starlette.types import ASGIApp, Receive, Scope, Send

from backend.api.errors import CrossSiteError, HostNotAllowedError, error_response
from backend.api.middleware.api_keys import is_probe
from backend.inference.errors import PrismError
from backend.settings import is_loopback

_SAFE_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS"})
_HISTORY: Final = "/history"
_FOREIGN_SITES: Final = frozenset({b"cross-site", b"same-site"})


class AllowedHostsMiddleware:
    """ASGI middleware that checks where requests were sent to, and which page sent them.

    The Host of every request but those of probes must be one of `hosts` or a name of this machine;
    None allows every name. Requests that change something or access the history must not come from
    a page of another website: the host name of Origin must be one of `hosts` or that of Host, or
    if the service `is_local`, a name of this machine. Ports are not compared. Clients that are not
    browsers send neither Origin nor Sec-Fetch-Site, and pass.
    """

    def __init__(self, app: ASGIApp, hosts: Collection[str] | None, *, is_local: bool) -> None:
        self._app = app
        self._allows_any_host = hosts is None
        self._hosts = frozenset(hosts or ())
        self._is_local = is_local

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or refuse it."""
        if scope["type"] == "http" and (error := self._error(scope)):
            await error_response(error, scope["state"]["request_id"])(scope, receive, send)
            return
        await self._app(scope, receive, send)

    def _error(self, scope: Scope) -> PrismError | None:
        hosts, origins, has_foreign_site = [], [], False
        for name, value in scope["headers"]:
            if name == b"host":
                hosts.append(_host_name(value))
            elif name == b"origin":
                origins.append(_origin_name(value))
            elif name == b"sec-fetch-site":
                has_foreign_site = has_foreign_site or value in _FOREIGN_SITES
        if not (self._allows_any_host or is_probe(scope) or all(map(self._is_own_host, hosts))):
            return HostNotAllowedError(
                "The service does not accept the host name of this address. Use the address that "
                "its operator gave you, or ask the operator to add the name to "
                "PRISM_ALLOWED_HOSTS."
            )
        # Sec-Fetch-Site compares sites more strictly, so an allowed Origin takes precedence.
        if origins:
            is_cross_site = not all(name and self._is_own_page(name, hosts) for name in origins)
        else:
            is_cross_site = has_foreign_site
        if is_cross_site and _is_protected(scope):
            return CrossSiteError(
                "The request comes from the page of another website. The operator of the service "
                "can allow it by adding its host name to PRISM_ALLOWED_HOSTS."
            )
        return None

    def _is_own_host(self, name: str | None) -> bool:
        return name is not None and (name in self._hosts or is_loopback(name))

    def _is_own_page(self, name: str, hosts: Collection[str | None]) -> bool:
        return name in self._hosts or name in hosts or (self._is_local and is_loopback(name))


def _is_protected(scope: Scope) -> bool:
    path: str = scope["path"]
    return scope["method"] not in _SAFE_METHODS or path.startswith(_HISTORY)


@lru_cache(maxsize=1024)
def _host_name(host: bytes) -> str | None:
    return _name(f"//{host.decode('latin-1')}")


@lru_cache(maxsize=1024)
def _origin_name(origin: bytes) -> str | None:
    """Return the host name of an origin; None for `null`, the origin of sandboxed pages."""
    return _name(origin.decode("latin-1"))


def _name(url: str) -> str | None:
    """Return the host name in lower case, without port, brackets and the final dot."""
    try:
        name = urlsplit(url).hostname
    except ValueError:
        return None
    return name.removesuffix(".") or None if name else None
