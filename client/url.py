"""Validation and normalization of the backend's URL."""

import ipaddress
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
        host, _ = parts.hostname, parts.port
    except ValueError:
        raise ValueError(f"{text!r} is not an address: invalid host or port") from None
    if parts.username is not None or parts.password is not None:
        raise ValueError("the backend address must not contain a user name or a password")
    if not host or any(c.isspace() for c in url):
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
