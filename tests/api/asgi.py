"""Requests below HTTP, so that a test says when a client sends, waits and leaves."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from starlette.types import ASGIApp, Message, Scope

from backend.app import create_app
from backend.inference.runtimes import Runtime
from tests.fake_models import fake_loader, settings_for
from tests.inference.work import WAIT

GONE: Message = {"type": "http.disconnect"}


def body(data: bytes, *, more: bool = False) -> Message:
    """A piece of a request's body, the last one unless `more` come."""
    return {"type": "http.request", "body": data, "more_body": more}


class Caller:
    """One request: what it was answered, and how often the service asked for more of it."""

    def __init__(self, app: ASGIApp, scope: Scope, messages: tuple[Message, ...]) -> None:
        self.asked = 0
        self.sent: list[Message] = []
        self._messages: asyncio.Queue[Message] = asyncio.Queue()
        for message in messages:
            self.say(message)
        self._task = asyncio.ensure_future(app(scope, self._receive, self._send))

    def say(self, message: Message) -> None:
        """Send one more piece, or leave."""
        self._messages.put_nowait(message)

    async def answer(self) -> tuple[int, dict[str, str], Any]:
        """Status, headers and body, from JSON where there is one."""
        async with asyncio.timeout(WAIT):
            await self._task
        start, *pieces = self.sent
        data = b"".join(piece.get("body", b"") for piece in pieces)
        headers = {name.decode().lower(): value.decode() for name, value in start["headers"]}
        return start["status"], headers, json.loads(data) if data else None

    async def _receive(self) -> Message:
        self.asked += 1
        return await self._messages.get()

    async def _send(self, message: Message) -> None:
        self.sent.append(message)


class Service:
    """The running application."""

    def __init__(self, app: ASGIApp, state: dict[str, Any]) -> None:
        self._app = app
        self._state = state

    def post(
        self,
        *messages: Message,
        path: str = "/classify",
        query: str = "",
        **headers: str,
    ) -> Caller:
        """Send a raw picture, a header `X-Name` written as `x_name`."""
        given = {"content-type": "application/octet-stream"} | {
            name.replace("_", "-"): value for name, value in headers.items()
        }
        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": "POST",
            "scheme": "http",
            "path": path,
            "raw_path": path.encode(),
            "root_path": "",
            "query_string": query.encode(),
            "headers": [(name.encode(), value.encode()) for name, value in given.items()],
            "client": ("127.0.0.1", 1),
            "server": ("127.0.0.1", 2),
            "state": dict(self._state),
        }
        return Caller(self._app, scope, messages)


@asynccontextmanager
async def running(models_dir: Path, runtime: Runtime, **settings: Any) -> AsyncIterator[Service]:
    """The application on one event loop with the test, its model ready."""
    app = create_app(settings_for(models_dir, **settings), fake_loader(runtime))
    async with app.router.lifespan_context(app) as state:
        assert state is not None
        await state["catalog"].get()
        yield Service(app, dict(state))
