"""API key authentication."""

import hmac
from collections.abc import Iterator, Sequence
from typing import Final

from starlette.types import ASGIApp, Receive, Scope, Send

from backend.api.clients import KEY_NAME
from backend.api.errors import KeyMissingError, KeyWrongError, error_response
from backend.api.scopes import API_KEY, missing_key_error
from backend.keys import ApiKey, hash_key

# Compared with the whole path, as the router does: a part of a path can be spelled in many ways.
_PUBLIC_PATHS: Final = frozenset(
    {"/health", "/ready", "/ping", "/v2/health/live", "/v2/health/ready"}
)
_PUBLIC_METHODS: Final = frozenset({"GET", "HEAD"})


class ApiKeyMiddleware:
    """ASGI middleware that refuses requests without one of `keys`.

    It sets `api_key` and `key_name` in the state of accepted requests; the routes check the scopes
    of the key. Only GET and HEAD of the probes need no key.
    """

    def __init__(self, app: ASGIApp, keys: Sequence[ApiKey]) -> None:
        self._app = app
        self._keys = keys

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or refuse it."""
        if scope["type"] == "http" and not is_probe(scope):
            try:
                accepted = authenticate(scope, self._keys)
            except (KeyMissingError, KeyWrongError) as error:
                await error_response(error, scope["state"]["request_id"])(scope, receive, send)
                return
            scope["state"][API_KEY] = accepted
            scope["state"][KEY_NAME] = accepted.name
        await self._app(scope, receive, send)


def authenticate(scope: Scope, keys: Sequence[ApiKey]) -> ApiKey:
    """Return the key of a request; raise KeyMissingError or, for an unknown one, KeyWrongError."""
    sent = list(_read_keys(scope))
    found = None
    for digest in map(hash_key, sent):
        for key in keys:  # always all of them, so that timing reveals nothing
            if hmac.compare_digest(digest, key.digest):
                found = key
    if found is None:
        raise _wrong_key_error() if sent else missing_key_error()
    return found


def is_probe(scope: Scope) -> bool:
    """Return whether the request is a probe, for which the key and the host name do not matter."""
    return scope["path"] in _PUBLIC_PATHS and scope["method"] in _PUBLIC_METHODS


def _wrong_key_error() -> KeyWrongError:
    return KeyWrongError("The API key is not valid. Ask the operator of the service for a key.")


def _read_keys(scope: Scope) -> Iterator[bytes]:
    for name, value in scope["headers"]:
        if name == b"x-api-key":
            yield value.strip()
        elif name == b"authorization":
            scheme, _, key = value.strip().partition(b" ")
            if scheme.lower() == b"bearer":
                yield key.strip()
