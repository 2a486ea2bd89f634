"""What opens a service that is not open to everybody: an API key, ID tokens, of the environment."""

from __future__ import annotations

import os
import re
from urllib.parse import urlsplit

import requests
from requests.auth import AuthBase

from client.url import is_loopback


class IdToken(AuthBase):
    """Adds an ID token to every request."""

    def __init__(self, token: str) -> None:
        self.headers = {"Authorization": f"Bearer {token}"}

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers.update(self.headers)
        return request


def id_token(variable: str, url: str) -> IdToken | None:
    """What that variable holds; ValueError where it is no token, or not to be shown to `url`."""
    token = os.environ.get(variable, "").strip()
    if not token:
        return None
    if urlsplit(url).scheme != "https" and not is_loopback(url):
        raise ValueError(f"{variable} is shown to https addresses only; unset it for {url}")
    if not re.fullmatch("[!-~]+", token):
        raise ValueError(f"{variable} cannot be a token: those have no spaces")
    return IdToken(token)


def to_backend(url: str) -> dict[str, str]:
    """The headers that open the backend at `url`; ValueError as `id_token` raises it."""
    key = os.environ.get("BACKEND_API_KEY", "").strip()
    token = id_token("BACKEND_ID_TOKEN", url)
    return ({"X-API-Key": key} if key else {}) | (token.headers if token else {})
