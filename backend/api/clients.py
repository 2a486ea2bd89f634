"""Who sent a request: an API key or an address. Limits and fairness apply per client."""

import ipaddress
from typing import Final

from starlette.types import Scope

# Key of a request's state: the name of the accepted API key. ApiKeyMiddleware sets it.
KEY_NAME: Final = "key_name"

_FORWARDED: Final = b"x-forwarded-for"
_IPV6_CLIENT_BITS: Final = 64  # a client controls all addresses of its network


def client_of(scope: Scope, trusted_proxies: int = 0) -> str:
    """Return the client of a request: `key:NAME` of its API key, else its address, or
    its network for IPv6.

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
            return client_at(addresses[-trusted_proxies])
    client = scope.get("client")
    return client_at(client[0]) if client else ""


def client_at(address: str) -> str:
    """Return the client that has an address: the address, or its network for IPv6."""
    if ":" not in address:
        return address
    try:
        parsed = ipaddress.IPv6Address(address.partition("%")[0])
    except ValueError:
        return address
    if parsed.ipv4_mapped:
        return str(parsed.ipv4_mapped)
    return str(ipaddress.IPv6Network((int(parsed), _IPV6_CLIENT_BITS), strict=False))


def _is_address(text: str) -> bool:
    """Whether the text is an IP address without a zone, which may be any text."""
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return "%" not in text
