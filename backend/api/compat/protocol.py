"""What a module of this package contributes: routes, and the shape of its errors.

`create(settings)` of each module returns its `Protocol`. `install` adds those that
PRISM_PROTOCOLS names.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Final

from fastapi import APIRouter, FastAPI

from backend.settings import Settings

Problem = Mapping[str, Any]  # the body of an error response, as errors.problem returns it

# https://github.com/googleapis/googleapis/blob/master/google/rpc/code.proto
_CANONICAL_CODES: Final = {
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    405: "UNIMPLEMENTED",
    408: "DEADLINE_EXCEEDED",
    409: "ABORTED",
    413: "RESOURCE_EXHAUSTED",
    429: "RESOURCE_EXHAUSTED",
    499: "CANCELLED",
    501: "UNIMPLEMENTED",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}


def error_field(problem: Problem) -> dict[str, Any]:
    """Return the error body of most protocols: `{"error": message}`."""
    return {"error": problem["detail"]}


def canonical_code(status: int) -> str:
    """Return the name of the gRPC status code that corresponds to an HTTP status."""
    return _CANONICAL_CODES.get(status, "INTERNAL" if status >= 500 else "INVALID_ARGUMENT")


@dataclass(frozen=True)
class Protocol:
    """Routes of a protocol, and the body of its error responses.

    `paths` are the paths, and parents of paths, whose errors have this shape, also those that
    middleware and the router raise. The status and headers remain those of `errors.ERROR_TABLE`.
    """

    router: APIRouter
    paths: tuple[str, ...]
    error_body: Callable[[Problem], object] = error_field

    def has_path(self, path: str) -> bool:
        """Return whether the errors of a request to `path` have the protocol's shape."""
        return any(path == each or path.startswith(f"{each}/") for each in self.paths)


def load(settings: Settings) -> list[Protocol]:
    """Return the protocols that the settings enable."""
    modules = (name.replace("-", "_") for name in settings.enabled_protocols)
    return [import_module(f"backend.api.compat.{name}").create(settings) for name in modules]


def install(app: FastAPI, protocols: Iterable[Protocol]) -> None:
    """Add the routes of the protocols, which the OpenAPI document leaves out."""
    for protocol in protocols:
        app.include_router(protocol.router, include_in_schema=False)
