"""What went wrong, in words for the person in front of the page."""

from dataclasses import dataclass, replace

from client import BackendError, BackendUnreachable, ClientError, InvalidAnswer, ModelInfo
from frontend.service.discovery import Address, AddressError, Way
from frontend.ui.formatting import seconds

ONE_PICTURE = frozenset({400, 413, 415, 422})  # these tell of the picture, not of the service
FORMATS = "JPEG, PNG, WebP, BMP or GIF"
SOON = 2.0  # seconds until asking again may help, where nobody has named any
LATER = 5.0  # of a backend that was too slow
SET_KEY = "Set BACKEND_API_KEY for the frontend to one of its keys, and start the frontend again."


class UnreadableImageError(ClientError):  # noqa: N818 (says what it is)
    """A picture that could not be sent, because of its `fault`."""

    def __init__(self, fault: str) -> None:
        super().__init__(fault)
        self.fault = fault


@dataclass(frozen=True, slots=True)
class Problem:
    """`what` is wrong and what to do about it; `passing` where waiting alone may mend it.

    `again` is in how many seconds the page had better ask again by itself, None where it had
    better not. `notes` are for whoever runs the service.
    """

    what: str
    advice: str
    passing: bool = False
    waiting: bool = False
    again: float | None = None
    notes: tuple[str, ...] = ()


def at(address: Address, error: ClientError) -> Problem:
    """Say why there is no service at `address`, and how that address came about."""
    problem = replace(of(error), notes=(f"Backend: {address}", *address.troubles))
    placed = address.how in (Way.SETTING, Way.DEFAULT) and not address.troubles
    if placed or not _is_elsewhere(error):
        return problem
    advice = "Check that its service is deployed, or set BACKEND to where it runs."
    return replace(problem, advice=advice, is_temporary=True)


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
                is_temporary=True,
                again=LATER,
            )
        case UnreadableImageError():
            return Problem(error.fault, "Take or save the picture again.")
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
            return Problem("The question could not be asked.", "Try again.", is_temporary=True)


def unreachable(url: str) -> Problem:
    """Say that nothing listens at `url`, and how to start it."""
    return Problem(
        f"The backend is not reachable at {url}.",
        "Start it with `make run` or `.venv/bin/python -m backend`, "
        "or set BACKEND to where it runs.",
        is_temporary=True,
        again=SOON,
    )


def of_model(model: ModelInfo) -> Problem | None:
    """Say why this model cannot answer, or None where it can."""
    if model.state == "loading":
        return Problem(
            f"The model {model.title} is still loading.",
            "This page goes on by itself as soon as it is ready.",
            is_temporary=True,
            waiting=True,
        )
    if model.state == "failed":
        why = f" The backend says: {model.error.rstrip('.')}." if model.error else ""
        return Problem(
            f"The model {model.title} could not be loaded.{why}",
            "Choose another model in the sidebar, or mend this one and start the backend again.",
        )
    return None


def unforeseen() -> Problem:
    """Say that the page itself failed; its log knows why."""
    return Problem(
        "Something went wrong on this page.",
        "Try again. What you gave it is still there; the frontend's log says what happened.",
        is_temporary=True,
    )


def no_models() -> Problem:
    """Say that the backend serves nothing."""
    return Problem(
        "The backend serves no model yet.",
        "Put a model folder under models/ and start the backend again.",
        is_temporary=True,
    )


def of_history(error: ClientError) -> Problem:
    """Say why the backend does not let us see or change what it remembers."""
    problem = of(error)
    if isinstance(error, BackendError) and error.status in (401, 403) and error.code:
        return replace(
            problem,
            what="The history of this backend is not open to this page.",
            advice=f"{SET_KEY} Or start the backend with `PRISM_HISTORY_OPEN=true`, which opens "
            "its history to everybody.",
        )
    return problem


def is_permanent(error: ClientError) -> bool:
    """Tell whether the same picture would be refused again."""
    return isinstance(error, BackendError) and error.status in ONE_PICTURE


def _is_elsewhere(error: ClientError) -> bool:
    """Tell whether the backend is somewhere else, or nowhere."""
    match error:
        case BackendUnreachable():
            return not error.timed_out
        case BackendError():
            return error.status == 404 and not error.code
    return isinstance(error, InvalidAnswer)


def _refusal(error: BackendError) -> Problem:
    problem = _BY_CODE.get(error.code) or _by_status(error)
    if problem.retry_after is None or error.retry_after is None:
        return problem
    return replace(problem, again=error.retry_after)


_BY_CODE = {
    "broken_image": Problem("This picture is damaged.", "Save or take it again."),
    "empty_file": Problem("This file is empty.", "Choose another one."),
    "not_ready": Problem(
        "The model is still loading.", "It is asked again.", is_temporary=True, again=SOON
    ),
    "draining": Problem(
        "The backend is being restarted.", "It is asked again.", is_temporary=True, again=SOON
    ),
    "history_unavailable": Problem(
        "The backend cannot reach its history.", "Try again in a moment.", is_temporary=True
    ),
    "history_off": Problem(
        "This backend keeps no history.", "Whoever runs it can start it with PRISM_HISTORY=true."
    ),
    "unknown_answer": Problem("The backend no longer keeps this answer.", "Ask for a new one."),
    "unknown_label": Problem("The model does not know this label.", "Choose one of its own."),
}


def _by_status(error: BackendError) -> Problem:
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
        case 401:
            return Problem("The backend asks for an API key.", SET_KEY)
        case 403:
            return Problem(
                "The backend does not accept the frontend's API key."
                if error.code
                else "The frontend is not allowed to ask the backend.",
                SET_KEY
                if error.code
                else "On Cloud Run its service account needs the role run.invoker there.",
            )
        case 404:
            return Problem(
                "The backend does not serve this model.",
                "Choose another one in the sidebar.",
                is_temporary=True,
            )
        case 408:
            return Problem("Sending took too long.", "Try again.", is_temporary=True, again=SOON)
        case 429:
            return _waiting("The backend is busy.", error.retry_after)
        case 502 | 503:
            return _waiting("The backend is not ready.", error.retry_after)
        case 504:
            return Problem(
                "The answer took too long.", "Try again in a moment.", is_temporary=True, again=LATER
            )
        case status if status < 400:
            return Problem(error.detail, "Set BACKEND to that address.")
    known_as = f" Its log knows this as request {error.request_id}." if error.request_id else ""
    return Problem(
        f"The backend could not answer (status {error.status}).",
        f"Try again.{known_as}",
        is_temporary=True,
    )


def _waiting(what: str, wait: float | None) -> Problem:
    advice = "Try again in a moment." if wait is None else f"Try again in {seconds(wait)}."
    return Problem(what, advice, is_temporary=True, again=SOON if wait is None else wait)
