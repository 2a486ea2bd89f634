"""Scopes of API keys, checked by the routes.

router = APIRouter(dependencies=[require_scope("history")])
"""

from dataclasses import dataclass
from typing import Any, Final

from fastapi import Depends, Request
from starlette.types import Scope

from backend.api.errors import KeyMissingError, ScopeMissingError
from backend.keys import ApiKey, ScopeName
from backend.settings import Settings

# Key of a request's state: the accepted ApiKey. ApiKeyMiddleware sets it.
API_KEY: Final = "api_key"

_HINTS: Final[dict[ScopeName, str]] = {
    "history": " If the service has no keys, its operator can set PRISM_API_KEYS, or "
    "PRISM_HISTORY_OPEN=true to open the history to everyone.",
    "models": " If the service has no keys, its operator can set PRISM_API_KEYS, or, if it is "
    "reachable from its own machine only, PRISM_MODELS_OPEN=true.",
}


@dataclass(frozen=True, slots=True)
class ScopeRequirement:
    """Dependency of a route: the API key must have the scope `name`."""

    name: ScopeName

    async def __call__(self, request: Request) -> None:
        """Raise the errors of `check_scope`."""
        check_scope(request.scope, self.name)


def require_scope(name: ScopeName) -> Any:
    """Return the dependency of routes that need the scope `name`."""
    return Depends(ScopeRequirement(name))


def check_scope(scope: Scope, name: ScopeName) -> None:
    """Raise ScopeMissingError if the request's API key does not have the scope `name`.

    In a service without keys, everyone may classify, and PRISM_HISTORY_OPEN opens the history,
    and PRISM_MODELS_OPEN the taught models; everything else raises KeyMissingError.
    """
    state = scope["state"]
    key: ApiKey | None = state.get(API_KEY)
    if key is None:
        settings: Settings = state["settings"]
        is_open = {
            "classify": True,
            "history": settings.history_open,
            "models": settings.models_open,
        }[name]
        if settings.api_keys or not is_open:
            raise missing_key_error(_HINTS.get(name, ""))
    elif name not in key.scopes:
        raise ScopeMissingError(name)


def missing_key_error(hint: str = "") -> KeyMissingError:
    """Return the error for a request without a key; `hint` is appended for the operator."""
    return KeyMissingError(
        "An API key is required. Send it as 'Authorization: Bearer KEY' or 'X-API-Key: KEY'." + hint
    )
