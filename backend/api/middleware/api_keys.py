"""API keys: whoever has none is told so, whatever is asked for.

python -m backend.api.middleware.api_keys

makes a new key, and the hash of it for PRISM_API_KEYS.
"""

import hmac
import secrets
from collections.abc import Iterator, Sequence
from hashlib import sha256
from typing import Final

from starlette.types import ASGIApp, Receive, Scope, Send

from backend.api import errors
from backend.api.errors import KeyMissingError, KeyWrongError

AUTHORIZED: Final = "authorized"

# Compared as a whole and as the router does: parts of a path can be written in many ways.
_FREE_PATHS: Final = frozenset({"/health", "/ready"})
_FREE_METHODS: Final = frozenset({"GET", "HEAD"})


class Keys:
    """ASGI middleware: passes on what brings a key whose SHA-256 is one of `hashes`.

    The state of such a request is `authorized`. Only /health and /ready need none.
    """

    def __init__(self, app: ASGIApp, hashes: Sequence[str]) -> None:
        self._app = app
        self._hashes = [bytes.fromhex(one) for one in hashes]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or refuse it."""
        if scope["type"] == "http" and not _is_free(scope):
            given = list(_given(scope))
            if not self._accepts(given):
                error = _wrong() if given else missing()
                await errors.answer(error, scope["state"]["request_id"])(scope, receive, send)
                return
            scope["state"][AUTHORIZED] = True
        await self._app(scope, receive, send)

    def _accepts(self, keys: Sequence[bytes]) -> bool:
        accepted = False
        for digest in [sha256(key).digest() for key in keys]:
            for known in self._hashes:  # all of them, so that the time tells nothing
                accepted |= hmac.compare_digest(digest, known)
        return accepted


def missing(what_else: str = "") -> KeyMissingError:
    """What to tell somebody without a key; `what_else` may be said to the operator."""
    return KeyMissingError(
        "An API key is needed: send it as 'Authorization: Bearer KEY' or 'X-API-Key: KEY'."
        + what_else
    )


def _wrong() -> KeyWrongError:
    return KeyWrongError("This API key is not accepted. Ask the operator for another one.")


def _is_free(scope: Scope) -> bool:
    return scope["path"] in _FREE_PATHS and scope["method"] in _FREE_METHODS


def _given(scope: Scope) -> Iterator[bytes]:
    for name, value in scope["headers"]:
        if name == b"x-api-key":
            yield value.strip()
        elif name == b"authorization":
            scheme, _, key = value.strip().partition(b" ")
            if scheme.lower() == b"bearer":
                yield key.strip()


def main() -> None:
    """Print a new key and its hash."""
    key = secrets.token_urlsafe(32)
    print(f"key, for those who ask:   {key}")
    print(f"hash, for PRISM_API_KEYS: {sha256(key.encode()).hexdigest()}")


if __name__ == "__main__":
    main()
