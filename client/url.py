"""The backend's address, checked and written in one way."""

import ipaddress
from urllib.parse import urlsplit


def base_url(text: str) -> str:
    """Return `text` without blanks around it and slashes after it.

    Raises ValueError with a sentence for a person where it is not an http(s) address, names no
    host or an impossible port, or carries a password, a query or a fragment.
    """
    url = text.strip().rstrip("/")
    if not url.lower().startswith(("http://", "https://")):
        raise ValueError(
            f"{text!r} is not an address of a backend: it must start with http:// or https://, "
            "for example http://localhost:8000"
        )
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        raise ValueError(f"{text!r} is not an address: the host or the port is wrong") from None
    if parts.username is not None or parts.password is not None:
        raise ValueError("the address of the backend must not hold a user name or a password")
    if not host or any(c.isspace() for c in url):
        raise ValueError(f"{text!r} is not an address: it names no host")
    if parts.query or parts.fragment:
        raise ValueError(f"{text!r} is not an address of a backend: nothing may follow the path")
    return url


def is_loopback(url: str) -> bool:
    """Tell whether `url` names this very machine."""
    host = urlsplit(url).hostname or ""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
