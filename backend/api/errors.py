"""Every failure as RFC 9457 problem+json: one table from error to status and code.

The text of an exception of our own tree is written for the client; that of any other exception
never leaves the process.
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

from backend.history.errors import (
    HistoryOffError,
    HistoryUnavailableError,
    NoImageError,
    UnknownAnswerError,
    UnknownLabelError,
)
from backend.inference.errors import (
    BrokenImageError,
    ClosedError,
    DeadlineError,
    EmptyImageError,
    ImageTooLargeError,
    InferenceError,
    ModelNotReadyError,
    PixelsError,
    PrismError,
    QueueFullError,
    UnknownModelError,
    UnsupportedImageError,
)

log = logging.getLogger("prism.api")

PROBLEM_TYPE: Final = "application/problem+json"


class RequestError(PrismError):
    """The request, not the picture in it, is wrong."""


class MalformedRequestError(RequestError):
    """The body cannot be parsed."""


class MissingFileError(RequestError):
    """A form without a picture."""


class UnsupportedMediaTypeError(RequestError):
    """A body of a type that the route does not take."""


class BodyTooLargeError(RequestError):
    """More bytes than the route takes."""


class BodyTimeoutError(RequestError):
    """The body did not arrive in time."""


class InvalidParameterError(RequestError):
    """A parameter out of range that no framework checks."""


class KeyMissingError(RequestError):
    """An API key is needed, and none was sent."""


class KeyWrongError(RequestError):
    """An API key that is not accepted."""


CATALOGUE: Final[Mapping[type[PrismError], tuple[int, str]]] = {
    EmptyImageError: (400, "empty_file"),
    BrokenImageError: (400, "broken_image"),
    UnsupportedImageError: (415, "unsupported_image"),
    ImageTooLargeError: (413, "image_too_large"),
    PixelsError: (422, "invalid_pixels"),
    MalformedRequestError: (400, "malformed_request"),
    MissingFileError: (400, "missing_file"),
    UnsupportedMediaTypeError: (415, "unsupported_media_type"),
    BodyTooLargeError: (413, "body_too_large"),
    BodyTimeoutError: (408, "body_timeout"),
    InvalidParameterError: (422, "invalid_parameter"),
    KeyMissingError: (401, "api_key_missing"),
    KeyWrongError: (403, "api_key_wrong"),
    UnknownAnswerError: (404, "unknown_answer"),
    NoImageError: (404, "no_image"),
    HistoryOffError: (404, "history_off"),
    UnknownLabelError: (422, "unknown_label"),
    HistoryUnavailableError: (503, "history_unavailable"),
    UnknownModelError: (404, "unknown_model"),
    QueueFullError: (429, "queue_full"),
    ModelNotReadyError: (503, "not_ready"),
    ClosedError: (503, "draining"),
    DeadlineError: (504, "deadline_passed"),
    InferenceError: (500, "inference_failed"),
}

_UNFORESEEN: Final = (500, "internal_error")
_HTTP_CODES: Final = {400: "malformed_request", 404: "not_found", 405: "method_not_allowed"}
_INTERNAL: Final = "Something went wrong in the service. Its log, under the request id, says what."


def problem(status: int, code: str, detail: str, request_id: str) -> dict[str, object]:
    """The body of one failure."""
    return {
        "type": f"urn:prism:problem:{code}",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
        "code": code,
        "request_id": request_id,
    }


def code_of(error: BaseException) -> str:
    """The code of the problem that `error` stands for."""
    return _known(error)[1]


def describe(error: Exception, request_id: str) -> dict[str, object]:
    """The problem that `error` stands for; an unforeseen one is logged and called internal."""
    status, code = _known(error)
    if code != _UNFORESEEN[1]:
        return problem(status, code, str(error), request_id)
    log.error("request %s failed", request_id, exc_info=error)
    return problem(status, code, _INTERNAL, request_id)


def _known(error: BaseException) -> tuple[int, str]:
    for kind in type(error).__mro__:
        if kind in CATALOGUE:
            return CATALOGUE[kind]
    return _UNFORESEEN


def install(app: FastAPI) -> None:
    """Answer every exception with a problem."""
    app.add_exception_handler(PrismError, _on_error)
    app.add_exception_handler(RequestValidationError, _on_invalid)
    app.add_exception_handler(HTTPException, _on_http)
    app.add_exception_handler(ClientDisconnect, _on_error)
    app.add_exception_handler(Exception, _on_unforeseen)


def respond(body: dict[str, object], headers: Mapping[str, str] | None = None) -> Response:
    """A problem as a response."""
    return Response(orjson.dumps(body), int(str(body["status"])), headers, media_type=PROBLEM_TYPE)


def answer(error: Exception, request_id: str) -> Response:
    """The response that `error` stands for."""
    if isinstance(error, ClientDisconnect):
        return Response(status_code=499)  # nobody is there to read it; proxies log this number
    headers = {}
    if isinstance(error, QueueFullError):
        headers["Retry-After"] = str(max(1, math.ceil(error.retry_after)))
    elif isinstance(error, ModelNotReadyError | ClosedError | HistoryUnavailableError):
        headers["Retry-After"] = "1"
    elif isinstance(error, KeyMissingError):
        headers["WWW-Authenticate"] = 'Bearer realm="Prism"'
    elif isinstance(error, KeyWrongError):
        headers["WWW-Authenticate"] = 'Bearer realm="Prism", error="invalid_token"'
    elif isinstance(error, BodyTimeoutError):
        headers["Connection"] = "close"  # the rest of the body would be taken for a request
    return respond(describe(error, request_id), headers)


async def _on_error(request: Request, error: Exception) -> Response:
    return answer(error, request.state.request_id)


async def _on_invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)  # noqa: S101
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"][1:])
    detail = f"{where}: {first['msg']}."
    return respond(problem(422, "invalid_parameter", detail, request.state.request_id))


async def _on_http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101
    code = _HTTP_CODES.get(error.status_code, "http_error")
    detail = f"{request.method} {request.url.path}: {HTTPStatus(error.status_code).phrase}."
    body = problem(error.status_code, code, detail, request.state.request_id)
    return respond(body, error.headers)


async def _on_unforeseen(request: Request, error: Exception) -> Response:
    request_id: str = request.state.request_id
    # Starlette answers this one outside of all middleware, so the header is set here.
    return respond(describe(error, request_id), {"X-Request-ID": request_id})
