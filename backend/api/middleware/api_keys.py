"""API key authentication."""

import hmac
from collections.abc import Iterator, Sequence
from typing import Final

from starlette.types import ASGIApp, Receive, Scope, Send

from backend.api.errors import KeyMissingError, KeyWrongError, error_response
from backend.keys import hash_key

AUTHORIZED: Final = "authorized"  # key of a request's state

# Compared with the whole path, as the router does: a part of a path can be spelled in many ways.
_PUBLIC_PATHS: Final = frozenset({"/health", "/ready"})
_PUBLIC_METHODS: Final = frozenset({"GET", "HEAD"})


class ApiKeyMiddleware:
    """ASGI middleware that refuses requests without a key whose SHA-256 hash is in `hashes`.

    It sets `authorized` in the state of accepted requests. Only GET and HEAD of /health and /ready
    need no key.
    """

    def __init__(self, app: ASGIApp, hashes: Sequence[str]) -> None:
        self._app = app
        self._hashes = [bytes.fromhex(one) for one in hashes]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or refuse it."""
        if scope["type"] == "http" and not _is_public(scope):
            keys = list(_read_keys(scope))
            if not self._accepts_any(keys):
                error = _wrong_key_error() if keys else missing_key_error()
                await error_response(error, scope["state"]["request_id"])(scope, receive, send)
                return
            scope["state"][AUTHORIZED] = True
        await self._app(scope, receive, send)

    def _accepts_any(self, keys: Sequence[bytes]) -> bool:
        is_accepted = False
        for digest in map(hash_key, keys):
            for accepted in self._hashes:  # always all of them, so that timing reveals nothing
                is_accepted |= hmac.compare_digest(digest, accepted)
        return is_accepted


def missing_key_error(hint: str = "") -> KeyMissingError:
    """Return the error for a request without a key; `hint` is appended for the operator."""
    return KeyMissingError(
        "An API key is required. Send it as 'Authorization: Bearer KEY' or 'X-API-Key: KEY'." + hint
    )


def _wrong_key_error() -> KeyWrongError:
    return KeyWrongError("The API key is not valid. Ask the operator of the service for a key.")


def _is_public(scope: Scope) -> bool:
    return scope["path"] in _PUBLIC_PATHS and scope["method"] in _PUBLIC_METHODS


def _read_keys(scope: Scope) -> Iterator[bytes]:
    for name, value in scope["headers"]:
        if name == b"x-api-key":
            yield value.strip()
        elif name == b"authorization":
            scheme, _, key = value.strip().partition(b" ")
            if scheme.lower() == b"bearer":
                yield key.strip()
