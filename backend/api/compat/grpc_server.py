"""Open Inference Protocol over gRPC: each call becomes a request of the protocol over HTTP.

The application answers it in this process, so that keys, scopes, quotas, limits, admission,
metrics, logs and the history are those of HTTP. Streaming is not supported.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import unquote
from weakref import WeakValueDictionary

import grpc
from starlette.types import ASGIApp, Message, Scope

from backend.api import json_body
from backend.api.body import BODY_RECEIVED
from backend.api.clients import KEY_NAME, client_of
from backend.api.compat.grpc_messages import HttpRequest, HttpResponse
from backend.api.compat.grpc_methods import METHODS, Method
from backend.api.compat.protocol import canonical_code
from backend.api.deadlines import TIMEOUT_HEADER
from backend.api.errors import BodyTimeoutError, MalformedRequestError, status_of
from backend.api.middleware.api_keys import authenticate
from backend.api.middleware.draining import ACCEPTED, DrainState
from backend.inference.admission import CLIENT_FACTOR
from backend.inference.errors import PrismError, QueueFullError
from backend.settings import Settings

log = logging.getLogger("prism.grpc")

_OVERHEAD: Final = 65_536  # bytes of a message besides an image of the maximum size
_MAX_CALLS: Final = 512  # at a time
_MAX_STREAMS: Final = 128  # calls of one connection at a time
_MAX_CONNECTIONS: Final = 256
_COPIES: Final = 2  # of a message in memory, while it becomes a request over HTTP
_DEFAULT_BUDGET: Final = 500_000_000  # bytes of arriving messages, if the memory is unknown
_DRAIN_SECONDS: Final = 5.5  # for accepted calls to finish
_DRAIN_POLL: Final = 0.1  # seconds
_LOOP_BYTES: Final = 1_000_000  # of a message that the event loop converts
_IDENTITY_ONLY: Final = 1  # a bit set: no compressed messages, whose size is unknown
_PASSED_ON: Final = (
    "authorization",
    "x-api-key",
    "x-request-id",
    "traceparent",
    "x-cloud-trace-context",
    "x-forwarded-for",
)


@dataclass(frozen=True, slots=True)
class _Failure:
    """The error of a call, with the HTTP status and headers of the response."""

    status: int
    detail: str
    headers: Mapping[bytes, bytes] = field(default_factory=dict)


class GrpcServer:
    """A gRPC server on the running event loop that passes calls on to `app`.

    Parameters
    ----------
    app : the application
    settings : its settings, with the port
    state : what the application's lifespan yields
    drain_state : when it is draining, accepted calls finish and no further ones are accepted
    budget : bytes that messages may use while they arrive
    """

    def __init__(
        self,
        app: ASGIApp,
        settings: Settings,
        state: Mapping[str, Any],
        drain_state: DrainState,
        budget: int | None = None,
    ) -> None:
        self._app = app
        self._settings = settings
        self._state = state
        self._drain_state = drain_state
        self._keys = settings.accepted_keys
        max_message = settings.max_bytes + _OVERHEAD
        arriving = max((budget or _DEFAULT_BUDGET) // (_COPIES * max_message), 2)
        self._arriving = asyncio.Semaphore(arriving)
        self._share = max(arriving * 3 // 4, 1)  # of one client
        self._client_arriving = WeakValueDictionary[str, asyncio.Semaphore]()
        self._calls = Counter[str]()  # by client
        self._tasks = set[asyncio.Task[None]]()
        self._server = grpc.aio.server(
            maximum_concurrent_rpcs=2 * _MAX_CALLS,  # those above _MAX_CALLS are refused at once
            options=[
                ("grpc.max_receive_message_length", max_message),
                ("grpc.max_send_message_length", -1),
                ("grpc.max_concurrent_streams", _MAX_STREAMS),
                ("grpc.max_allowed_incoming_connections", _MAX_CONNECTIONS),
                ("grpc.compression_enabled_algorithms_bitset", _IDENTITY_ONLY),
                ("grpc.so_reuseport", int(settings.workers > 1)),
                ("grpc.server_handshake_timeout_ms", round(settings.header_timeout * 1000)),
                ("grpc.max_connection_idle_ms", 600_000),
                ("grpc.keepalive_time_ms", 60_000),
                ("grpc.keepalive_timeout_ms", 20_000),
                ("grpc.keepalive_permit_without_calls", 1),
                ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
            ],
        )
        for service, methods in METHODS.items():
            handlers = {name: self._handler(method) for name, method in methods.items()}
            self._server.add_generic_rpc_handlers(
                (grpc.method_handlers_generic_handler(service, handlers),)
            )

    async def start(self) -> int:
        """Listen, and return the port; raise OSError if the address is in use."""
        host = self._settings.host
        address = f"[{host}]" if ":" in host else host
        try:
            port: int = self._server.add_insecure_port(f"{address}:{self._settings.grpc_port}")
        except RuntimeError as error:
            raise OSError(
                f"PRISM_GRPC_PORT={self._settings.grpc_port}: the port of {host} is in use, or "
                "may not be used"
            ) from error
        await self._server.start()
        return port

    async def run(self) -> None:
        """Wait until the service drains; then finish accepted calls."""
        while not self._drain_state.is_draining:  # noqa: ASYNC110 (a signal handler sets it)
            await asyncio.sleep(_DRAIN_POLL)
        await self._server.stop(_DRAIN_SECONDS)

    async def stop(self) -> None:
        """Finish accepted calls, and close the connections."""
        await self._server.stop(_DRAIN_SECONDS)
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=1)

    def _handler(self, method: Method) -> Any:
        async def handle(requests: AsyncIterator[bytes], context: Any) -> bytes:
            try:
                response = await self._answer(method, requests, context)
                if response.status in method.accepted:
                    data: bytes = method.finish(response).SerializeToString()
                    return data
                detail = response.json()["error"] if response.body else "The call was cancelled."
                failure = _Failure(response.status, detail, response.headers)
            except PrismError as error:
                failure = _Failure(status_of(error), str(error))
            except Exception:
                log.exception("a gRPC call failed")
                failure = _Failure(500, "An internal error occurred.")
            # Outside of the block: gRPC keeps the exception that this raises, and with it the
            # traceback of the other one, whose frames refer to the message.
            await _abort(context, failure)
            return b""

        # The request is read as a stream of one message: only then can a call be refused, or wait
        # for memory, before its message is received. On the wire, both are the same.
        return grpc.stream_unary_rpc_method_handler(handle)

    async def _answer(
        self, method: Method, requests: AsyncIterator[bytes], context: Any
    ) -> HttpResponse:
        """Receive the message of a call, and return the application's response."""
        scope = self._create_scope(context)
        if self._keys and not method.is_probe:
            scope["state"][KEY_NAME] = authenticate(scope, self._keys).name
        client = client_of(scope, self._settings.trusted_proxies)
        with self._count(client):
            if method.reads:
                http = await self._receive(method, requests, client)
            else:
                http = method.prepare(b"")
            if (seconds := context.time_remaining()) is not None:
                limit = f"{max(seconds, 0.001):.3f}".encode()
                scope["headers"].append((TIMEOUT_HEADER.lower().encode(), limit))
            return await self._request(http, scope)

    def _create_scope(self, context: Any) -> Scope:
        """Return the ASGI scope of a call, without path and method."""
        headers = [
            (name.encode(), value.encode())
            for name, value in context.invocation_metadata() or ()
            if name in _PASSED_ON and isinstance(value, str)
        ]
        return {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "2",
            "scheme": "http",
            "root_path": "",
            "query_string": b"",
            "headers": headers,
            "client": _parse_peer(context.peer()),
            "server": None,
            # The server itself refuses new calls while the service drains.
            "state": {**self._state, BODY_RECEIVED: True, ACCEPTED: True},
        }

    @contextmanager
    def _count(self, client: str) -> Iterator[None]:
        """Count a call of a client; raise QueueFullError unless calls of others still fit."""
        if self._calls[client] >= CLIENT_FACTOR * (_MAX_CALLS - self._calls.total()):
            raise QueueFullError("There are too many calls at the same time. Try again later.")
        self._calls[client] += 1
        try:
            yield
        finally:
            self._calls[client] -= 1
            if not self._calls[client]:
                del self._calls[client]

    async def _receive(
        self, method: Method, requests: AsyncIterator[bytes], client: str
    ) -> HttpRequest:
        """Receive the only message of a call once there is memory for it, and prepare the request.

        Raise BodyTimeoutError if it does not arrive in time, and the errors of `prepare`.
        """
        share = self._client_arriving.setdefault(client, asyncio.Semaphore(self._share))
        messages: list[bytes] = []
        try:
            async with asyncio.timeout(self._settings.body_timeout), share, self._arriving:
                async for message in requests:  # to the end: the iterator keeps the last message
                    messages.append(message)
                    if len(messages) > 1:
                        raise MalformedRequestError("The call has more than one message.")
                if not messages:
                    raise MalformedRequestError("The call has no message.")
                del message
                if len(messages[0]) <= _LOOP_BYTES:
                    return method.prepare(messages.pop())
                return await json_body.run_in_parser(method.prepare, messages.pop())
        except TimeoutError as error:
            raise BodyTimeoutError(
                f"The message did not arrive within {self._settings.body_timeout:g} s. Send it "
                "again."
            ) from error

    async def _request(self, http: HttpRequest, scope: Scope) -> HttpResponse:
        """Return the application's response; cancelling the call counts as a disconnect."""
        scope.update(method=http.method, path=http.path, raw_path=http.path.encode())
        length = str(len(http.body)).encode()
        scope["headers"] = [*scope["headers"], *http.headers, (b"content-length", length)]
        is_gone = asyncio.Event()
        is_read = False
        start: Message = {}
        body = bytearray()

        async def receive() -> Message:
            nonlocal is_read
            if not is_read:
                is_read = True
                return {"type": "http.request", "body": http.body, "more_body": False}
            await is_gone.wait()
            return {"type": "http.disconnect"}

        async def send(message: Message) -> None:
            if message["type"] == "http.response.start":
                start.update(message)
            else:
                body.extend(message.get("body", b""))

        async def run() -> None:
            with suppress(Exception):  # Starlette has sent the response, and logs the error
                await self._app(scope, receive, send)

        task = asyncio.create_task(run())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError:
            is_gone.set()
            raise
        headers = {name.lower(): value for name, value in start.get("headers", ())}
        return HttpResponse(start.get("status", 500), headers, bytes(body))


async def _abort(context: Any, failure: _Failure) -> None:
    """End a call with an error, which this raises."""
    names = (b"retry-after", b"x-request-id")
    sent = failure.headers
    metadata = tuple((name.decode(), sent[name].decode()) for name in names if name in sent)
    code = getattr(grpc.StatusCode, canonical_code(failure.status))
    await context.abort(code, failure.detail, metadata)


def _parse_peer(peer: str) -> tuple[str, int] | None:
    """Return the address and port in `ipv4:127.0.0.1:50051`, or `ipv6:[::1]:50051`."""
    kind, _, rest = unquote(peer).partition(":")
    host, _, port = rest.rpartition(":")
    if kind not in ("ipv4", "ipv6") or not port.isdecimal():
        return None
    return host.strip("[]"), int(port)
