"""ASGI requests whose timing tests control: when a client sends, waits and disconnects."""

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
from tests.inference.helpers import TIMEOUT

DISCONNECT: Message = {"type": "http.disconnect"}


def body(data: bytes, *, more: bool = False) -> Message:
    """Return a chunk of a request's body, the last one unless `more`."""
    return {"type": "http.request", "body": data, "more_body": more}


class AsgiRequest:
    """One request; `receive_calls` counts how often the application waited for a message."""

    def __init__(self, app: ASGIApp, scope: Scope, messages: tuple[Message, ...]) -> None:
        self.receive_calls = 0
        self.sent: list[Message] = []
        self._messages: asyncio.Queue[Message] = asyncio.Queue()
        for message in messages:
            self.send(message)
        self._task = asyncio.ensure_future(app(scope, self._receive, self._send))

    def send(self, message: Message) -> None:
        """Send one more chunk, or disconnect."""
        self._messages.put_nowait(message)

    async def response(self) -> tuple[int, dict[str, str], Any]:
        """Return the status, headers and JSON body of the response."""
        async with asyncio.timeout(TIMEOUT):
            await self._task
        start, *chunks = self.sent
        data = b"".join(chunk.get("body", b"") for chunk in chunks)
        headers = {name.decode().lower(): value.decode() for name, value in start["headers"]}
        return start["status"], headers, json.loads(data) if data else None

    async def _receive(self) -> Message:
        self.receive_calls += 1
        return await self._messages.get()

    async def _send(self, message: Message) -> None:
        self.sent.append(message)


class AsgiService:
    """A running application."""

    def __init__(self, app: ASGIApp, state: dict[str, Any]) -> None:
        self._app = app
        self._state = state

    def post(
        self,
        *messages: Message,
        path: str = "/classify",
        query: str = "",
        method: str = "POST",
        client: str = "127.0.0.1",
        **headers: str,
    ) -> AsgiRequest:
        """Send a raw image; the keyword argument `x_name` sets the header `X-Name`."""
        all_headers = {"content-type": "application/octet-stream"} | {
            name.replace("_", "-"): value for name, value in headers.items()
        }
        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": method,
            "scheme": "http",
            "path": path,
            "raw_path": path.encode(),
            "root_path": "",
            "query_string": query.encode(),
            "headers": [(name.encode(), value.encode()) for name, value in all_headers.items()],
            "client": (client, 1),
            "server": ("127.0.0.1", 2),
            "state": dict(self._state),
        }
        return AsgiRequest(self._app, scope, messages)


@asynccontextmanager
async def run_service(
    models_dir: Path, runtime: Runtime, **settings: Any
) -> AsyncIterator[AsgiService]:
    """Run the application on the event loop of the test, with its model ready."""
    app = create_app(settings_for(models_dir, **settings), fake_loader(runtime))
    async with app.router.lifespan_context(app) as state:
        assert state is not None
        catalog = state["catalog"]
        await catalog.get(catalog.default).load()
        yield AsgiService(app, dict(state))
