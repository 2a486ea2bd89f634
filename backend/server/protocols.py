"""The protocols of uvicorn with the limits of a Connection, one for each HTTP parser."""

import asyncio
import logging
from typing import Any, Final

import h11
from starlette.types import Receive, Scope, Send
from uvicorn.config import Config
from uvicorn.protocols.http.h11_impl import H11Protocol

from backend.api.errors import MalformedRequestError
from backend.server.connections import Connection
from backend.server.request_stream import Received, SharedState

_errors_only: Final = logging.getLogger("uvicorn.error.h11")
_errors_only.setLevel(logging.ERROR)


class H11Connection(Connection, H11Protocol):
    """Connection with h11, the pure-Python parser."""

    def __init__(
        self,
        config: Config,
        server_state: SharedState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self.logger = _errors_only  # uvicorn would log a line for every malformed request

    def handle_events(self) -> None:
        """Process the received events."""
        super().handle_events()
        self._is_parsing_body = self.conn.their_state is h11.SEND_BODY

    def _feed(self, data: Received) -> None:
        self.conn.receive_data(bytes(data))
        self.handle_events()  # calls send_400_response for malformed data


try:
    import httptools
    from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

    from backend.server.responses import ResponseWriter
except ImportError:
    DefaultConnection: type[Connection] = H11Connection
else:

    class HttptoolsConnection(Connection, HttpToolsProtocol):
        """Connection with httptools, the C parser."""

        def __init__(
            self,
            config: Config,
            server_state: SharedState,
            app_state: dict[str, Any],
            _loop: asyncio.AbstractEventLoop | None = None,
        ) -> None:
            super().__init__(config, server_state, app_state, _loop)
            self._application = self.app
            self.app = self._run_application

        async def _run_application(self, scope: Scope, receive: Receive, _: Send) -> None:
            writer = ResponseWriter(self.cycle, self._shared.default_lines())
            await self._application(scope, receive, writer.send)

        def on_headers_complete(self) -> None:
            """Start the application."""
            self._is_parsing_body = True
            super().on_headers_complete()
            self.headers = []  # for the trailers, which would be added to the request's headers

        def on_message_complete(self) -> None:
            """Record that the body is complete."""
            self._is_parsing_body = False
            super().on_message_complete()

        def _skip(self, data: Received, *, is_last: bool) -> None:
            if is_last:  # the parser did not see the end of the body
                self.parser = httptools.HttpRequestParser(self)
                self._is_parsing_body = False

        def _feed(self, data: Received) -> None:
            try:
                self.parser.feed_data(data)
            except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
                raise MalformedRequestError("The request is not valid HTTP/1.1.") from error

    DefaultConnection = HttptoolsConnection
