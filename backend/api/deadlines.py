"""Request deadlines: the X-Request-Timeout header, and cancellation when the client disconnects."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from starlette.requests import ClientDisconnect, Request

from backend.api.errors import InvalidParameterError
from backend.api.fields import fields_of
from backend.api.parameters import parse_number
from backend.inference.errors import DeadlineError

T = TypeVar("T")

TIMEOUT_HEADER: Final = "X-Request-Timeout"
_RAW_TIMEOUT_HEADER: Final = TIMEOUT_HEADER.lower().encode()
_WATCH_DELAY: Final = 0.02  # seconds; most requests finish earlier and are not watched
_POLL_INTERVAL: Final = 0.02  # seconds


def request_timeout(request: Request, max_seconds: float) -> float:
    """Return the seconds in X-Request-Timeout, but at most `max_seconds`.

    Raises InvalidParameterError if the header is not a single positive number.
    """
    if _RAW_TIMEOUT_HEADER not in fields_of(request.scope):
        return max_seconds
    texts = request.headers.getlist(TIMEOUT_HEADER)
    try:
        seconds = parse_number(texts[0]) if len(texts) == 1 else 0
    except ValueError:
        seconds = 0
    if seconds <= 0:
        raise InvalidParameterError(
            f"{TIMEOUT_HEADER}: must be a positive number of seconds such as 2.5."
        )
    return min(seconds, max_seconds)


class Deadline:
    """The moment `seconds` from now, by which the work on a request must be done."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._time = asyncio.get_running_loop().time() + seconds

    def remaining(self) -> float:
        """Return the seconds until the deadline; raise DeadlineError once it has passed."""
        seconds = self._time - asyncio.get_running_loop().time()
        if seconds <= 0:
            raise self._error()
        return seconds

    async def limit(self, work: Awaitable[T]) -> T:
        """Await `work`; cancel it and raise DeadlineError at the deadline."""
        try:
            async with asyncio.timeout_at(self._time):
                return await work
        except TimeoutError as error:
            raise self._error() from error

    def _error(self) -> DeadlineError:
        return DeadlineError(
            f"The request took longer than {self._seconds:g} s and was cancelled. Try again later."
        )


async def wait_until(condition: Callable[[], bool], seconds: float) -> None:
    """Wait until `condition()` holds, for at most `seconds`."""
    end = asyncio.get_running_loop().time() + seconds
    while not condition() and asyncio.get_running_loop().time() < end:  # noqa: ASYNC110
        await asyncio.sleep(_POLL_INTERVAL)


async def cancel_on_disconnect(request: Request, work: Awaitable[T]) -> T:
    """Await `work`; if the client disconnects, cancel it and raise ClientDisconnect.

    The request's body must have been read before.
    """
    task = asyncio.current_task()
    assert task is not None  # noqa: S101
    watcher = _DisconnectWatcher(request, task)
    timer = asyncio.get_running_loop().call_later(_WATCH_DELAY, watcher.start)
    try:
        return await work
    except asyncio.CancelledError as error:
        if not watcher.is_disconnected:
            raise
        task.uncancel()
        raise ClientDisconnect from error
    finally:
        timer.cancel()
        watcher.stop()


class _DisconnectWatcher:
    """Cancels `task` when the client disconnects."""

    def __init__(self, request: Request, task: asyncio.Task[object]) -> None:
        self.is_disconnected = False
        self._request = request
        self._task = task
        self._watch_task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._watch_task = asyncio.create_task(self._watch())

    def stop(self) -> None:
        if self._watch_task is not None:
            self._watch_task.cancel()

    async def _watch(self) -> None:
        message = await self._request.receive()
        if message["type"] == "http.disconnect":
            self.is_disconnected = True
            self._task.cancel()
