"""What went wrong, in words for the person in front of the page."""

from dataclasses import dataclass, replace

from client import BackendError, BackendUnreachable, ClientError, InvalidAnswer, ModelInfo
from frontend.discovery import Address, AddressError, Way

ONE_PICTURE = frozenset({400, 413, 415, 422})  # these tell of the picture, not of the service
FORMATS = "JPEG, PNG, WebP, BMP or GIF"


@dataclass(frozen=True, slots=True)
class Problem:
    """`what` is wrong and what to do about it; `passing` where waiting alone may mend it.

    `notes` are for whoever runs the service.
    """

    what: str
    advice: str
    passing: bool = False
    waiting: bool = False
    notes: tuple[str, ...] = ()


def at(address: Address, error: ClientError) -> Problem:
    """Say why there is no service at `address`, and how that address came about."""
    problem = replace(of(error), notes=(f"Backend: {address}", *address.troubles))
    placed = address.how in (Way.SETTING, Way.DEFAULT) and not address.troubles
    if placed or not _is_absence(error):
        return problem
    advice = "Check that its service is deployed, or set BACKEND to where it runs."
    return replace(problem, advice=advice, passing=True)


def of_address(error: AddressError) -> Problem:
    """Say that a setting keeps the backend from being found."""
    return Problem(str(error), "Or set BACKEND to an address such as http://localhost:8000.")


def is_silent(error: ClientError) -> bool:
    """Tell whether no backend of ours is behind `error`: what a backend says has a code."""
    return not (isinstance(error, BackendError) and error.code)


def of(error: ClientError) -> Problem:
    """Put an error of the client into words."""
    match error:
        case BackendUnreachable(timed_out=True):
            return Problem(
                f"The backend at {error.url} does not answer in time.",
                "It may be busy or starting. Try again in a moment.",
                passing=True,
            )
        case BackendUnreachable():
            return unreachable(error.url)
        case InvalidAnswer() | BackendError(status=404, code=""):
            return Problem(
                "Something answers at the backend's address, but it does not speak as our backend.",
                "Check that BACKEND names the Prism backend, and that both are of one version.",
            )
        case BackendError():
            return _refusal(error)
        case _:
            return Problem("The question could not be asked.", "Try again.", passing=True)


def unreachable(url: str) -> Problem:
    """Say that nothing listens at `url`, and how to start it."""
    return Problem(
        f"The backend is not reachable at {url}.",
        "Start it with `make run` or `.venv/bin/python -m backend`, "
        "or set BACKEND to where it runs.",
        passing=True,
    )


def of_model(model: ModelInfo) -> Problem | None:
    """Say why this model cannot answer, or None where it can."""
    if model.state == "loading":
        return Problem(
            f"The model {model.title} is still loading.",
            "This page goes on by itself as soon as it is ready.",
            passing=True,
            waiting=True,
        )
    if model.state == "failed":
        why = f" The backend says: {model.error.rstrip('.')}." if model.error else ""
        return Problem(
            f"The model {model.title} could not be loaded.{why}",
            "Choose another model in the sidebar, or mend this one and start the backend again.",
        )
    return None


def of_history(error: ClientError) -> Problem:
    """Put an error of the history into words; what is no trouble of its own is said as ever."""
    match error:
        case BackendError(code="api_key_missing" | "api_key_wrong"):
            return Problem(
                "The history is not open to this page.",
                "Whoever runs the backend gives it a key (`PRISM_API_KEYS` there, "
                "`BACKEND_API_KEY` for this page), or opens it with `PRISM_HISTORY_OPEN=true`.",
            )
        case BackendError(code="history_off"):
            return Problem(
                "This backend keeps no history.",
                "Start it with `PRISM_HISTORY=true` to have one.",
            )
        case BackendError(code="history_unavailable"):
            return Problem(
                "The history cannot be reached now.",
                "Its database may be starting or down; answers are given all the same. Try again.",
                passing=True,
            )
        case BackendError(code="unknown_answer"):
            return Problem(
                "This answer is not kept any more.", "It may be too old, or was deleted."
            )
        case BackendError(status=404, code=""):
            return Problem("This backend has no history.", "Bring it up to date to have one.")
    return of(error)


def unforeseen() -> Problem:
    """Say that the page itself failed; its log knows why."""
    return Problem(
        "Something went wrong on this page.",
        "Try again. What you gave it is still there; the frontend's log says what happened.",
        passing=True,
    )


def no_models() -> Problem:
    """Say that the backend serves nothing."""
    return Problem(
        "The backend serves no model yet.",
        "Put a model folder under models/ and start the backend again.",
        passing=True,
    )


def is_lasting(error: ClientError) -> bool:
    """Tell whether the same picture would be refused again."""
    return isinstance(error, BackendError) and error.status in ONE_PICTURE


def _is_absence(error: ClientError) -> bool:
    """Tell whether the backend is somewhere else, or nowhere."""
    match error:
        case BackendUnreachable():
            return not error.timed_out
        case BackendError():
            return error.status == 404 and not error.code
    return isinstance(error, InvalidAnswer)


def _refusal(error: BackendError) -> Problem:
    match error.code:
        case "broken_image":
            return Problem("This picture is damaged.", "Save or take it again.")
        case "empty_file":
            return Problem("This file is empty.", "Choose another one.")
    match error.status:
        case 413:
            return Problem("This picture is too large.", error.detail or "Send a smaller one.")
        case 415:
            return Problem("This file is not a picture that can be read.", f"Send a {FORMATS}.")
        case 400 | 422:
            return Problem(
                "This picture cannot be read.",
                error.detail or "It may be damaged: save or take it again.",
            )
        case 404:
            return Problem(
                "The backend does not serve this model.",
                "Choose another one in the sidebar.",
                passing=True,
            )
        case 429:
            return Problem("The backend is busy.", _later(error.retry_after), passing=True)
        case 503:
            return Problem("The backend is not ready.", _later(error.retry_after), passing=True)
        case 504:
            return Problem("The answer took too long.", "Try again in a moment.", passing=True)
        case status if status < 400:
            return Problem(error.detail, "Set BACKEND to that address.")
    known_as = f" Its log knows this as request {error.request_id}." if error.request_id else ""
    return Problem(
        f"The backend could not answer (status {error.status}).",
        f"Try again.{known_as}",
        passing=True,
    )


def _later(seconds: float | None) -> str:
    if seconds is None:
        return "Try again in a moment."
    whole = max(1, round(seconds))
    return f"Try again in {whole} second{'' if whole == 1 else 's'}."
