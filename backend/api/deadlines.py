"""How long an answer is worth working for: the request's time limit, and the client's presence."""

import asyncio
import math
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from starlette.requests import ClientDisconnect, Request

from backend.api.errors import InvalidParameterError

T = TypeVar("T")

HEADER: Final = "X-Request-Timeout"
# Most answers are quicker than this, and are spared the watch.
_WATCH_AFTER: Final = 0.02
_LOOK_AGAIN: Final = 0.02


def allowed(request: Request, limit: float) -> float:
    """Seconds that the answer may take: what X-Request-Timeout asks for, `limit` at most.

    Raises InvalidParameterError where that is not a positive number.
    """
    asked = request.headers.get(HEADER)
    if asked is None:
        return limit
    try:
        seconds = float(asked)
    except ValueError:
        seconds = math.nan
    if not seconds > 0:
        raise InvalidParameterError(f"{HEADER}: a positive number of seconds is expected.")
    return min(seconds, limit)


async def until(ready: Callable[[], bool], within: float) -> None:
    """Wait until `ready`, so many seconds at most."""
    end = asyncio.get_running_loop().time() + within
    while not ready() and asyncio.get_running_loop().time() < end:  # noqa: ASYNC110
        await asyncio.sleep(_LOOK_AGAIN)


async def unless_gone(request: Request, work: Awaitable[T]) -> T:
    """Wait for `work`, and cancel it once the client is gone: raises ClientDisconnect then.

    The request's body has to be read before.
    """
    task = asyncio.current_task()
    assert task is not None  # noqa: S101
    watch = _Watch(request, task)
    timer = asyncio.get_running_loop().call_later(_WATCH_AFTER, watch.start)
    try:
        return await work
    except asyncio.CancelledError as error:
        if not watch.gone:
            raise
        task.uncancel()
        raise ClientDisconnect from error
    finally:
        timer.cancel()
        watch.stop()


class _Watch:
    def __init__(self, request: Request, task: asyncio.Task[object]) -> None:
        self.gone = False
        self._request = request
        self._task = task
        self._watcher: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._watcher = asyncio.create_task(self._wait())

    def stop(self) -> None:
        if self._watcher is not None:
            self._watcher.cancel()

    async def _wait(self) -> None:
        message = await self._request.receive()
        if message["type"] == "http.disconnect":
            self.gone = True
            self._task.cancel()
