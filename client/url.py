"""Validation of the backend's URL and of the API key."""

import ipaddress
import re
from urllib.parse import urlsplit


def base_url(text: str) -> str:
    """Return `text` without surrounding whitespace and trailing slashes.

    Raise ValueError with a message for users if it is not an http(s) URL, has no host or an invalid
    port, or contains credentials, a query or a fragment.
    """
    url = text.strip().rstrip("/")
    if not url.lower().startswith(("http://", "https://")):
        raise ValueError(
            f"{text!r} is not a backend address: it must start with http:// or https://, "
            "for example http://localhost:8000"
        )
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname or "", parts.port
        host.encode("idna")  # raises for an empty part of a name, or one that is too long
    except ValueError:
        raise ValueError(f"{text!r} is not an address: invalid host or port") from None
    if parts.username is not None or parts.password is not None:
        raise ValueError("the backend address must not contain a user name or a password")
    if not host or any(c.isspace() or not c.isprintable() for c in url):
        raise ValueError(f"{text!r} is not an address: it has no host")
    if parts.query or parts.fragment:
        raise ValueError(
            f"{text!r} is not a backend address: it must not have a query or a fragment"
        )
    return url


def is_loopback(url: str) -> bool:
    """Return whether the host of `url` is the local machine."""
    host = urlsplit(url).hostname or ""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def key_headers(api_key: str | None) -> dict[str, str]:
    """Return the headers that contain an API key; raise ValueError if it has invalid characters."""
    key = (api_key or "").strip()
    if not key:
        return {}
    if not re.fullmatch("[!-~]+", key):
        raise ValueError("an API key must consist of printable ASCII characters without spaces")
    return {"X-API-Key": key}  # not `Authorization`, which a proxy may need
