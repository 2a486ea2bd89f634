"""Who sent a request: an API key or an address. Limits and fairness apply per client."""

import ipaddress
from typing import Final

from starlette.types import Scope

# Key of a request's state: the name of the accepted API key. ApiKeyMiddleware sets it.
KEY_NAME: Final = "key_name"

_FORWARDED: Final = b"x-forwarded-for"


def client_of(scope: Scope, trusted_proxies: int = 0) -> str:
    """Return the client of a request: `key:NAME` of its API key, else its address.

    With `trusted_proxies` proxies in front of the service, the address is the entry of
    X-Forwarded-For that the outermost of them appended; what a client wrote itself stands further
    left and is ignored.
    """
    if name := scope.get("state", {}).get(KEY_NAME):
        return f"key:{name}"
    if trusted_proxies:
        values = b",".join(value for name, value in scope["headers"] if name == _FORWARDED)
        addresses = [part.strip().decode("latin-1") for part in values.split(b",")]
        if len(addresses) >= trusted_proxies and _is_address(addresses[-trusted_proxies]):
            return addresses[-trusted_proxies]
    client = scope.get("client")
    return client[0] if client else ""


def _is_address(text: str) -> bool:
    """Whether the text is an IP address without a zone, which may be any text."""
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return "%" not in text
