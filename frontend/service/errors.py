"""Error messages for the user: from a client error or a model's state to a Problem."""

from dataclasses import replace

from client import (
    BackendError,
    BackendUnreachable,
    Classification,
    ClientError,
    InvalidResponse,
    ModelInfo,
)
from frontend.service.discovery import Address, AddressError, AddressSource
from frontend.ui.alerts import Problem
from frontend.ui.formatting import seconds

IMAGE_STATUSES = frozenset({400, 413, 415, 422})  # the image is at fault, not the service
FORMATS = "JPEG, PNG, WebP, HEIC, AVIF, TIFF, GIF or BMP"
RETRY_SOON = 2.0  # seconds until a retry, where the backend names no Retry-After
RETRY_LATER = 5.0  # seconds until a retry after a timeout
ADD_SCOPE = "Add the scope to the key's entry in PRISM_API_KEYS, and restart the backend."
SET_KEY = "Set BACKEND_API_KEY for the frontend to a valid key, and restart the frontend."


class UnreadableImageError(ClientError):
    """An image that cannot be sent; `reason` is a sentence for the user."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def describe(error: ClientError) -> Problem:
    """Return the problem to show for a client error."""
    match error:
        case BackendUnreachable(timed_out=True):
            message = f"The backend at {error.url} does not respond in time."
            advice = "It may be busy or starting. Try again in a moment."
            return _temporary(message, advice, RETRY_LATER)
        case UnreadableImageError():
            return Problem(error.reason, "Save the image again or take a new photo.")
        case BackendUnreachable():
            start = "Start it with `make run` or `.venv/bin/python -m backend`"
            advice = f"{start}, or set BACKEND to its address."
            return _temporary(f"The backend is not reachable at {error.url}.", advice, RETRY_SOON)
        case InvalidResponse() | BackendError(status=404, code=""):
            return Problem(
                "The server at the backend's address is not a Prism backend.",
                "Check that BACKEND is the address of a Prism backend of the same version.",
            )
        case BackendError():
            return _describe_backend_error(error)
        case _:
            return _temporary("The request failed.", "Try again.")


def describe_outcome(outcome: Classification | ClientError) -> Classification | Problem:
    """Return the classification itself, or the problem to show in its place."""
    return describe(outcome) if isinstance(outcome, ClientError) else outcome


def describe_unavailable(address: Address, error: ClientError) -> Problem:
    """Return why the service at `address` is unavailable, with the address's source as a note."""
    problem = replace(describe(error), notes=(f"Backend: {address}", *address.warnings))
    if isinstance(error, BackendUnreachable) and error.timed_out:
        problem = replace(problem, advice=f"It may be busy or starting. {_RETRYING}")
        problem = replace(problem, retry_after=RETRY_SOON)  # the request was a small one
    is_configured = address.source in (AddressSource.SETTING, AddressSource.DEFAULT)
    if (is_configured and not address.warnings) or not _is_wrong_address(error):
        return problem
    advice = "Check that its service is deployed, or set BACKEND to its address."
    return replace(problem, advice=advice, is_temporary=True)


def describe_address_error(error: AddressError) -> Problem:
    """Return the problem of an invalid setting."""
    return Problem(str(error), "Set BACKEND to an address, such as http://localhost:8000.")


def describe_model_state(model: ModelInfo) -> Problem | None:
    """Return why this model cannot classify, or None where it can."""
    if model.state == "loading":
        return Problem(
            f"The model {model.title} is still loading.",
            "This page continues automatically when the model is ready.",
            is_temporary=True,
            is_waiting=True,
        )
    if model.state == "failed":
        reason = f" The backend reports: {model.error.rstrip('.')}." if model.error else ""
        return Problem(
            f"The model {model.title} could not be loaded.{reason}",
            "Choose another model in the sidebar, or fix this one and restart the backend.",
        )
    return None


def describe_history_error(error: ClientError) -> Problem:
    """Return why the history cannot be read or changed."""
    problem = describe(error)
    if isinstance(error, BackendError) and error.status in (401, 403) and error.code:
        opening = "start the backend with `PRISM_HISTORY_OPEN=true`"
        advice = f"{SET_KEY} Or {opening}, which makes its history visible to everyone."
        if error.code == "scope_missing":
            advice = ADD_SCOPE.replace("the scope", "the scope `history`")
        message = "The frontend does not have access to the backend's history."
        return replace(problem, message=message, advice=advice)
    return problem


def describe_model_error(error: ClientError) -> Problem:
    """Return why a model cannot be taught, stored or changed."""
    if not isinstance(error, BackendError) or not error.code:
        return describe(error)
    if error.status in (401, 403):
        message = "The frontend does not have permission to change models."
        if error.code == "scope_missing":
            return Problem(message, ADD_SCOPE.replace("the scope", "the scope `models`"))
        opening = "start the backend with `PRISM_MODELS_OPEN=true`"
        return Problem(message, f"{SET_KEY} Or {opening}, if only trusted people can reach it.")
    if error.status < 500 and error.status not in (408, 429) and error.detail:
        message, _, advice = error.detail.partition(". ")
        return Problem(f"{message.rstrip('.')}.", advice)
    return describe(error)


def unexpected_error() -> Problem:
    """Return the problem of an exception in the page itself, which the log describes."""
    advice = "Try again. Your input was kept. The frontend's log has the details."
    return _temporary("Something went wrong on this page.", advice)


def no_models() -> Problem:
    """Return the problem of a backend without models."""
    advice = "Add a model folder to models/ and restart the backend."
    return _temporary("The backend has no models.", advice)


def is_permanent(error: ClientError) -> bool:
    """Return whether the same image would be rejected again."""
    return isinstance(error, BackendError) and error.status in IMAGE_STATUSES


def is_unreadable(error: ClientError) -> bool:
    """Return whether the file is at fault: damaged, empty, too large or not an image."""
    return isinstance(error, UnreadableImageError) or is_permanent(error)


def is_backend_missing(error: ClientError) -> bool:
    """Return whether no Prism backend is behind `error`; the backend's own errors have a code."""
    return not (isinstance(error, BackendError) and error.code)


def _is_wrong_address(error: ClientError) -> bool:
    """Return whether the backend is not at the address."""
    match error:
        case BackendUnreachable():
            return not error.timed_out
        case BackendError():
            return error.status == 404 and not error.code
    return isinstance(error, InvalidResponse)


def _describe_backend_error(error: BackendError) -> Problem:
    problem = _BY_CODE.get(error.code) or _describe_status(error)
    if problem.retry_after is None or error.retry_after is None:
        return problem
    return replace(problem, retry_after=error.retry_after)


def _temporary(message: str, advice: str, retry_after: float | None = None) -> Problem:
    return Problem(message, advice, is_temporary=True, retry_after=retry_after)


_RETRYING = "The page retries automatically."
_BY_CODE = {
    "broken_image": Problem("This image is damaged.", "Save it again or take a new photo."),
    "truncated_image": Problem(
        "This file ends early: a part of the image is missing.", "Copy or download it again."
    ),
    "empty_file": Problem("This file is empty.", "Choose another file."),
    "not_ready": _temporary("The model is still loading.", _RETRYING, RETRY_SOON),
    "draining": _temporary("The backend is restarting.", _RETRYING, RETRY_SOON),
    "history_unavailable": _temporary(
        "The backend cannot reach its history database.", "Try again in a moment."
    ),
    "history_off": Problem(
        "The history is turned off on this backend.",
        "The operator can turn it on with PRISM_HISTORY=true.",
    ),
    "unknown_answer": Problem(
        "This classification is no longer in the history.", "Classify the image again."
    ),
    "host_not_allowed": Problem(
        "The backend does not accept requests under its address.",
        "Add the host name of the address to PRISM_ALLOWED_HOSTS.",
    ),
    "cross_site": Problem(
        "The backend does not accept requests from this website.",
        "Add the host name of the website to PRISM_ALLOWED_HOSTS.",
    ),
    "scope_missing": Problem("The frontend's API key does not permit this.", ADD_SCOPE),
    "unknown_label": Problem("The model does not have this label.", "Choose one of its labels."),
}


def _describe_status(error: BackendError) -> Problem:
    match error.status:
        case 413:
            return Problem("This image is too large.", error.detail or "Upload a smaller one.")
        case 415 if error.detail:  # what the file is, and what to do
            message, _, advice = error.detail.partition(". ")
            return Problem(f"{message.rstrip('.')}.", advice or f"Upload a {FORMATS} file.")
        case 415:
            return Problem("This file is not a supported image.", f"Upload a {FORMATS} file.")
        case 400 | 422:
            advice = "It may be damaged: save it again or take a new photo."
            return Problem("This image cannot be read.", error.detail or advice)
        case 401:
            return Problem("The backend requires an API key.", SET_KEY)
        case 403 if error.code:
            return Problem("The backend does not accept the frontend's API key.", SET_KEY)
        case 403:
            advice = "On Cloud Run, its service account needs the role roles/run.invoker."
            return Problem("The frontend does not have permission to call the backend.", advice)
        case 404:
            advice = "Choose another model in the sidebar."
            return _temporary("The backend does not serve this model.", advice)
        case 408:
            return _temporary("The upload took too long.", "Try again.", RETRY_SOON)
        case 429 if error.code == "quota_exceeded":
            return _describe_unready(
                "The frontend's API key has used up its quota.", error.retry_after
            )
        case 429:
            return _describe_unready("The backend is busy.", error.retry_after)
        case 502 | 503:
            return _describe_unready("The backend is not ready.", error.retry_after)
        case 504:
            advice = "Try again in a moment."
            return _temporary("The request took too long.", advice, RETRY_LATER)
        case status if status < 400:
            return Problem(error.detail, "Set BACKEND to that address.")
    log_hint = f" Its log describes the request {error.request_id}." if error.request_id else ""
    message = f"The backend returned an error (status {error.status})."
    return _temporary(message, f"Try again.{log_hint}")


def _describe_unready(message: str, wait: float | None) -> Problem:
    advice = "Try again in a moment." if wait is None else f"Try again in {seconds(wait)}."
    return _temporary(message, advice, RETRY_SOON if wait is None else wait)
