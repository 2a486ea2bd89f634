"""Error responses: RFC 9457 problem+json, with one table from exception to status and code.

The message of a PrismError is written for the client. The message of any other exception is only
logged.
"""

import logging
import math
from collections.abc import Mapping
from http import HTTPStatus
from typing import Final

import orjson
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.routing import Match

from backend.api.middleware.security_headers import API_POLICY, NO_STORE
from backend.history import errors as history
from backend.inference import errors as inference
from backend.inference.errors import PrismError
from backend.registry import errors as registry

log = logging.getLogger("prism.api")

PROBLEM_TYPE: Final = "application/problem+json"


class RequestError(PrismError):
    """The request is invalid, independent of the image in it."""


class MalformedRequestError(RequestError):
    """The body cannot be parsed."""


class MissingFileError(RequestError):
    """The form contains no image."""


class TooManyFilesError(RequestError):
    """The form contains more images than the route classifies."""


class UnsupportedMediaTypeError(RequestError):
    """The route does not accept the Content-Type or Content-Encoding of the body."""


class BodyTooLargeError(RequestError):
    """The body exceeds the size limit of the route."""


class HeadTooLargeError(RequestError):
    """The head of the request exceeds the limit on its size or number of fields."""


class TargetTooLongError(RequestError):
    """The path and query of the request exceed the size limit."""


class TooManyConnectionsError(RequestError):
    """The service has reached its connection limit."""


class BodyTimeoutError(RequestError):
    """The body did not arrive in time."""


class InvalidParameterError(RequestError):
    """A parameter that FastAPI does not check is out of range."""


class HostNotAllowedError(RequestError):
    """The Host header names a host that the service does not accept."""


class CrossSiteError(RequestError):
    """A browser sent the request for the page of another website."""


class KeyMissingError(RequestError):
    """The request has no API key, and one is required."""


class KeyWrongError(RequestError):
    """The API key is not accepted."""


class ScopeMissingError(RequestError):
    """The API key does not have the `scope` that the route requires."""

    def __init__(self, scope: str) -> None:
        super().__init__(
            f"The API key does not have the scope '{scope}', which this route requires. Ask the "
            "operator of the service to add it to the key's entry in PRISM_API_KEYS."
        )
        self.scope = scope


class QuotaExceededError(RequestError):
    """The API key has used up its quota; more is available after `retry_after` seconds."""

    def __init__(self, message: str, retry_after: float) -> None:
        super().__init__(message)
        self.retry_after = retry_after


ERROR_TABLE: Final[Mapping[type[PrismError], tuple[int, str]]] = {
    inference.EmptyImageError: (400, "empty_file"),
    inference.BrokenImageError: (400, "broken_image"),
    inference.TruncatedImageError: (400, "truncated_image"),
    inference.UnsupportedImageError: (415, "unsupported_image"),
    inference.ImageTooLargeError: (413, "image_too_large"),
    inference.PixelsError: (422, "invalid_pixels"),
    MalformedRequestError: (400, "malformed_request"),
    MissingFileError: (400, "missing_file"),
    TooManyFilesError: (400, "too_many_files"),
    UnsupportedMediaTypeError: (415, "unsupported_media_type"),
    BodyTooLargeError: (413, "body_too_large"),
    HeadTooLargeError: (431, "head_too_large"),
    TargetTooLongError: (414, "target_too_long"),
    TooManyConnectionsError: (503, "too_many_connections"),
    BodyTimeoutError: (408, "body_timeout"),
    InvalidParameterError: (422, "invalid_parameter"),
    HostNotAllowedError: (421, "host_not_allowed"),
    CrossSiteError: (403, "cross_site"),
    KeyMissingError: (401, "api_key_missing"),
    KeyWrongError: (403, "api_key_wrong"),
    ScopeMissingError: (403, "scope_missing"),
    QuotaExceededError: (429, "quota_exceeded"),
    history.UnknownClassificationError: (404, "unknown_answer"),
    history.NoImageError: (404, "no_image"),
    history.HistoryOffError: (404, "history_off"),
    history.UnknownLabelError: (422, "unknown_label"),
    history.HistoryUnavailableError: (503, "history_unavailable"),
    inference.UnknownModelError: (404, "unknown_model"),
    inference.NoFeaturesError: (422, "no_features"),
    inference.NotTaughtError: (422, "not_taught"),
    inference.RuntimeMissingError: (501, "not_installed"),
    registry.ReservedNameError: (409, "name_reserved"),
    registry.InvalidModelError: (422, "invalid_model"),
    registry.UploadTooLargeError: (413, "upload_too_large"),
    registry.UnknownVersionError: (404, "unknown_version"),
    registry.ActiveVersionError: (409, "version_active"),
    registry.NoShadowError: (404, "no_shadow"),
    registry.StoreFullError: (409, "store_full"),
    registry.StoreUnavailableError: (503, "store_unavailable"),
    inference.QueueFullError: (429, "queue_full"),
    inference.ModelNotReadyError: (503, "not_ready"),
    inference.StuckError: (503, "stuck"),
    inference.ClosedError: (503, "draining"),
    inference.DeadlineError: (504, "deadline_passed"),
    inference.InferenceError: (500, "inference_failed"),
}

_INTERNAL_ERROR: Final = (500, "internal_error")
_HTTP_CODES: Final = {400: "malformed_request", 404: "not_found", 405: "method_not_allowed"}
_TITLES: Final = {status.value: status.phrase for status in HTTPStatus}
_BUSY: Final = (inference.QueueFullError, QuotaExceededError)
_METHODS: Final = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE")
_MAX_DETAIL: Final = 1_000  # characters; a detail can contain a name that the client sent
_MAX_NAME: Final = 100  # characters of a path or of a parameter's location in a detail
_INTERNAL_DETAIL: Final = (
    "An internal error occurred. The service's log contains the cause under this request ID."
)


def problem(status: int, code: str, detail: str, request_id: str) -> dict[str, object]:
    """Return the body of an error response."""
    return {
        "type": f"urn:prism:problem:{code}",
        "title": _TITLES[status],
        "status": status,
        "detail": detail if len(detail) <= _MAX_DETAIL else f"{detail[:_MAX_DETAIL]}…",
        "code": code,
        "request_id": request_id,
    }


def code_of(error: BaseException) -> str:
    """Return the error code of an exception."""
    return _status_and_code(error)[1]


def status_of(error: BaseException) -> int:
    """Return the status of the response to an exception."""
    return _status_and_code(error)[0]


def problem_for(error: Exception, request_id: str) -> dict[str, object]:
    """Return the body of the response to an exception; log an unexpected one."""
    status, code = _status_and_code(error)
    if code != _INTERNAL_ERROR[1]:
        return problem(status, code, str(error), request_id)
    log.error("request %s failed", request_id, exc_info=error)
    return problem(status, code, _INTERNAL_DETAIL, request_id)


def _status_and_code(error: BaseException) -> tuple[int, str]:
    for kind in type(error).__mro__:
        if kind in ERROR_TABLE:
            return ERROR_TABLE[kind]
    return _INTERNAL_ERROR


def install_handlers(app: FastAPI) -> None:
    """Turn every exception into a problem+json response."""
    app.add_exception_handler(PrismError, _handle_error)
    app.add_exception_handler(RequestValidationError, _handle_validation_error)
    app.add_exception_handler(HTTPException, _handle_http_error)
    app.add_exception_handler(ClientDisconnect, _handle_error)
    app.add_exception_handler(Exception, _handle_unexpected_error)


def problem_response(body: dict[str, object], headers: Mapping[str, str] | None = None) -> Response:
    """Return a response with a body that `problem` made."""
    return Response(orjson.dumps(body), int(str(body["status"])), headers, media_type=PROBLEM_TYPE)


def error_response(error: Exception, request_id: str) -> Response:
    """Return the response to an exception."""
    if isinstance(error, ClientDisconnect):
        return Response(status_code=499)  # as proxies log it; nobody reads this response
    headers = {}
    if isinstance(error, _BUSY):
        headers["Retry-After"] = str(max(1, math.ceil(error.retry_after)))
    elif _status_and_code(error)[0] == 503:
        headers["Retry-After"] = "1"
    elif isinstance(error, KeyMissingError):
        headers["WWW-Authenticate"] = 'Bearer realm="Prism"'
    elif isinstance(error, KeyWrongError):
        headers["WWW-Authenticate"] = 'Bearer realm="Prism", error="invalid_token"'
    elif isinstance(error, ScopeMissingError):
        challenge = f'Bearer realm="Prism", error="insufficient_scope", scope="{error.scope}"'
        headers["WWW-Authenticate"] = challenge
    elif isinstance(error, BodyTimeoutError):
        headers["Connection"] = "close"  # else the rest of the body would be parsed as a request
    return problem_response(problem_for(error, request_id), headers)


async def _handle_error(request: Request, error: Exception) -> Response:
    return error_response(error, request.state.request_id)


async def _handle_validation_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)  # noqa: S101
    first = error.errors()[0]
    location = ".".join(str(part) for part in first["loc"][1:])
    detail = f"{location[:_MAX_NAME]}: {first['msg']}."
    return problem_response(problem(422, "invalid_parameter", detail, request.state.request_id))


async def _handle_http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101
    code = _HTTP_CODES.get(error.status_code, "http_error")
    # Not request.url, which contains the Host header and raises ValueError for an invalid one.
    path: str = request.scope["path"]
    detail = f"{request.method} {path[:_MAX_NAME]}: {HTTPStatus(error.status_code).phrase}."
    body = problem(error.status_code, code, detail, request.state.request_id)
    headers = {**(error.headers or {})}
    if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        headers["Allow"] = ", ".join(_allowed_methods(request))
    return problem_response(body, headers)


def _allowed_methods(request: Request) -> list[str]:
    """Return all methods of a path. The router knows only those of the first matching route."""
    routes = request.app.router.routes
    # Without the context that the router has added, which refers to the first matching route.
    scope = {name: request.scope[name] for name in ("type", "path", "root_path")}
    return [
        method
        for method in _METHODS
        if any(route.matches({**scope, "method": method})[0] is Match.FULL for route in routes)
    ]


async def _handle_unexpected_error(request: Request, error: Exception) -> Response:
    request_id: str = request.state.request_id
    # Starlette sends this response outside of all middleware, so its headers are set here.
    headers = {
        "X-Request-ID": request_id,
        "Content-Security-Policy": API_POLICY,
        "Cache-Control": NO_STORE,
    }
    return problem_response(problem_for(error, request_id), headers)
