"""Protection of a service on localhost or in a private network against other websites.

A website can let the browser send requests to this service: under its own name, which resolves to
this machine (DNS rebinding), or from its own pages (cross-site requests). The headers Host and
Origin give both away.
"""

from collections.abc import Collection
from functools import lru_cache
from typing import Final
from urllib.parse import urlsplit

from starlette.types import ASGIApp, Receive, Scope, Send

from backend.api.errors import HostNotAllowedError, OriginNotAllowedError, error_response
from backend.inference.errors import PrismError
from backend.settings import is_loopback

_SAFE_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS"})
_HISTORY: Final = "/history"


class AllowedHostsMiddleware:
    """ASGI middleware that checks requests which change something or access the history.

    Their Host must be one of `hosts` or a name of this machine; None allows every name. Their
    Origin, which only browsers send, must be one of these names too, or the same as Host. Ports are
    not compared.
    """

    def __init__(self, app: ASGIApp, hosts: Collection[str] | None) -> None:
        self._app = app
        self._allows_any_host = hosts is None
        self._hosts = frozenset(hosts or ())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or refuse it."""
        if scope["type"] == "http" and _is_protected(scope) and (error := self._error(scope)):
            await error_response(error, scope["state"]["request_id"])(scope, receive, send)
            return
        await self._app(scope, receive, send)

    def _error(self, scope: Scope) -> PrismError | None:
        hosts, origins = [], []
        for name, value in scope["headers"]:
            if name == b"host":
                hosts.append(_host_name(value))
            elif name == b"origin":
                origins.append(_origin_name(value))
        if not (self._allows_any_host or all(map(self._is_allowed, hosts))):
            return HostNotAllowedError(
                "The service does not accept the host name of this address. Use the address that "
                "its operator gave you, or ask the operator to add the name to "
                "PRISM_ALLOWED_HOSTS."
            )
        if not all(self._is_allowed(name) or name in hosts for name in origins):
            return OriginNotAllowedError(
                "The request comes from the page of another website. The operator of the service "
                "can allow it by adding its host name to PRISM_ALLOWED_HOSTS."
            )
        return None

    def _is_allowed(self, name: str | None) -> bool:
        if name is None:
            return False
        return name in self._hosts or is_loopback(name)


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
