"""Credentials from environment variables: an API key and ID tokens."""

from __future__ import annotations

import os
import re
from urllib.parse import urlsplit

import requests
from requests.auth import AuthBase

from client.url import is_loopback


class IdToken(AuthBase):
    """Add an ID token to every request."""

    def __init__(self, token: str) -> None:
        self.headers = {"Authorization": f"Bearer {token}"}

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers.update(self.headers)
        return request


def id_token(variable: str, url: str) -> IdToken | None:
    """Return the token in `variable`, if any.

    Raise ValueError if it is not a token, or if `url` is neither https nor on this machine.
    """
    token = os.environ.get(variable, "").strip()
    if not token:
        return None
    if urlsplit(url).scheme != "https" and not is_loopback(url):
        raise ValueError(f"{variable} is sent to https addresses only; unset it for {url}")
    if not re.fullmatch("[!-~]+", token):
        raise ValueError(f"{variable} is not a token: tokens contain no spaces")
    return IdToken(token)


def backend_headers(url: str) -> dict[str, str]:
    """Return the headers that authenticate at the backend; raise ValueError as `id_token` does."""
    key = os.environ.get("BACKEND_API_KEY", "").strip()
    token = id_token("BACKEND_ID_TOKEN", url)
    return ({"X-API-Key": key} if key else {}) | (token.headers if token else {})
