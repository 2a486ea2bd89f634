"""The server's lifecycle: uvicorn's server with a graceful shutdown that drains requests.

After SIGTERM the service is not ready and refuses new requests, but it keeps listening for a
moment so that clients and load balancers move on. Accepted requests finish within a time limit.
"""

import asyncio
import logging
import os
import signal
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from types import FrameType
from typing import Final

import uvicorn

from backend.server.connections import Connection
from backend.server.request_stream import SharedState
from backend.server.tcp import is_readable, limit_unsent_bytes

log = logging.getLogger("prism.server")

# Deadlines, in seconds after the signal.
LISTEN_UNTIL: Final = 1.0  # after SIGTERM the server listens, and refuses requests
DRAIN_UNTIL: Final = 6.5  # accepted requests may finish
STOP_UNTIL: Final = 7.5  # the models' threads may finish
SINGLE_STOP_AFTER: Final = 0.2  # a worker then assumes that only it stops, not the whole service

_ACCEPT_SECONDS: Final = 0.5  # for connections in the listener's backlog to be accepted
_FIRST_REQUEST_SECONDS: Final = 0.5  # for clients of a single stopping worker to send a request
_CANCEL_SECONDS: Final = 0.4  # for cancelled requests to send their response


class Server(uvicorn.Server):
    """One process that serves until a signal arrives.

    A second signal stops it at once, unless it is one of several workers, which their supervisor
    stops. A worker may also stop alone, while `is_service_stopping` returns False: it then leaves
    the listener to the other workers and refuses no request.
    """

    def __init__(
        self,
        config: uvicorn.Config,
        shared: SharedState,
        *,
        is_service_stopping: Callable[[], bool] | None = None,
        on_started: Callable[["Server"], None] = lambda _: None,
    ) -> None:
        super().__init__(config)
        self.server_state: SharedState = shared
        self._is_service_stopping = is_service_stopping
        self._on_started = on_started
        self._signal_time = 0.0
        self._keeps_listening = False

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Start the shutdown; Python runs this between two instructions, even in a busy loop."""
        if self.server_state.drain_state.is_draining:
            if self._is_service_stopping is None:
                _terminate(sig)
            return
        super().handle_exit(sig, frame)
        self.should_exit = False  # `on_tick` decides when
        self._signal_time = self._signal_time or time.monotonic()
        self._keeps_listening = self.started and sig == signal.SIGTERM
        if not self._is_stopping_alone():
            self.server_state.drain_state.start()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start to listen."""
        await super().startup(sockets)
        for descriptor in self._listeners():
            limit_unsent_bytes(descriptor)
        if self.started:
            self._on_started(self)

    async def on_tick(self, counter: int) -> bool:
        """Return whether to stop serving; called ten times a second."""
        should_stop = await super().on_tick(counter)
        self._close_late_connections(is_full_check=counter % 10 == 0)
        if not (self._signal_time or self.server_state.drain_state.is_draining):
            return should_stop
        if self._is_stopping_alone():
            delay = SINGLE_STOP_AFTER
        else:
            delay = LISTEN_UNTIL if self._keeps_listening else 0.0
        return should_stop or self._elapsed() >= delay

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Finish accepted requests, close idle connections, then stop the application."""
        self._signal_time = self._signal_time or time.monotonic()
        log.info("shutting down: finishing accepted requests")
        if self._is_stopping_alone():
            await self._leave_listener(sockets or [])
        else:
            await self._stop_listening(sockets or [])
        # A process that was suspended may be past its deadlines; it still sends its responses.
        deadline = max(DRAIN_UNTIL, self._elapsed() + _CANCEL_SECONDS)
        await self._wait_until(deadline, self._has_finished)
        await self._cancel_requests()
        remaining = max(STOP_UNTIL - self._elapsed(), _CANCEL_SECONDS)
        if threading.current_thread() is threading.main_thread():
            _exit_after(remaining + _CANCEL_SECONDS)
        with suppress(TimeoutError):
            await asyncio.wait_for(self.lifespan.shutdown(), remaining)

    async def _stop_listening(self, inherited: list[socket.socket]) -> None:
        """Accept the connections in the backlog, then close the listener."""
        listeners = self._listeners()
        await self._wait_until(
            self._elapsed() + _ACCEPT_SECONDS, lambda: not any(map(is_readable, listeners))
        )
        await self._close_listeners(inherited)

    async def _leave_listener(self, inherited: list[socket.socket]) -> None:
        await self._close_listeners(inherited)
        await self._wait_until(
            self._elapsed() + _FIRST_REQUEST_SECONDS,
            lambda: all(connection.has_received_head() for connection in self._connections()),
        )
        self.server_state.drain_state.start()

    async def _close_listeners(self, inherited: list[socket.socket]) -> None:
        for server in self.servers:
            server.close()
        for sock in inherited:
            sock.close()
        await asyncio.sleep(0)  # the sockets accepted last become connections

    async def _cancel_requests(self) -> None:
        """Cancel unfinished requests, which sends a 503, then abort the connections."""
        cancelled: set[asyncio.Task[None]] = set()

        def cancel_all() -> bool:
            for task in self.server_state.tasks - cancelled:
                task.cancel("the service shuts down")
                cancelled.add(task)
            return self._has_finished()

        if not self._has_finished():
            log.warning("cancelling %d unfinished requests", len(self.server_state.tasks))
            for connection in self._connections():
                connection.disable_keep_alive()
            await self._wait_until(self._elapsed() + _CANCEL_SECONDS, cancel_all)
        for connection in self._connections():
            connection.transport.abort()

    def _has_finished(self) -> bool:
        now = asyncio.get_running_loop().time()
        for connection in self._connections():
            connection.close_if_idle(now)
        state = self.server_state
        return not (state.connections or state.tasks)

    def _close_late_connections(self, *, is_full_check: bool) -> None:
        """Close connections of slow clients: those over the limit, or all in a full check."""
        now = asyncio.get_running_loop().time()
        state = self.server_state
        for connection in self._connections() if is_full_check else state.limits.over_limit:
            connection.close_if_late(now)
        if is_full_check and state.refusals:
            counts = ", ".join(f"{code} {count}" for code, count in state.refusals.items())
            log.warning("refused requests and closed connections: %s", counts)
            state.refusals.clear()

    def _listeners(self) -> list[int]:
        return [sock.fileno() for server in self.servers for sock in server.sockets]

    def _connections(self) -> list[Connection]:
        return [one for one in self.server_state.connections if isinstance(one, Connection)]

    def _is_stopping_alone(self) -> bool:
        if self._is_service_stopping is None or self.server_state.drain_state.is_draining:
            return False
        return not self._is_service_stopping()

    def _elapsed(self) -> float:
        """Return the seconds since the signal."""
        return time.monotonic() - self._signal_time

    async def _wait_until(self, deadline: float, condition: Callable[[], bool]) -> None:
        """Wait until `condition()` holds, or until `deadline` seconds after the signal."""
        while not condition() and self._elapsed() < deadline:  # noqa: ASYNC110
            await asyncio.sleep(0.01)


def _exit_after(seconds: float) -> None:
    """Exit even if a thread in a forward pass, which cannot be cancelled, does not finish."""

    def force_exit() -> None:
        log.error("exiting with threads that did not stop")
        os._exit(1)

    watchdog = threading.Timer(seconds, force_exit)
    watchdog.daemon = True
    watchdog.start()


def _terminate(sig: int) -> None:
    signal.signal(sig, signal.SIG_DFL)
    signal.raise_signal(sig)
    os._exit(128 + sig)  # the first process of a container ignores its own signal
