"""uvicorn's server with an end of our own: ready no more, listening on, losing nothing accepted."""

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

from backend.server import sockets
from backend.server.connections import Connection, Shared

log = logging.getLogger("prism.server")

# Seconds after the signal.
LINGER: Final = 1.0  # until then it listens on after SIGTERM, refusing, so that clients move on
GRACE: Final = 6.5  # until then what was accepted may finish
END: Final = 7.5  # until then the models' threads may finish
ALONE: Final = 0.2  # until then one of several may hear that all end, else it ends alone

_SETTLE: Final = 0.05  # seconds in which a connection that has begun is made
_BEGIN: Final = 0.5  # seconds in which a client that got through to one of several asks
_FLUSH: Final = 0.4  # seconds in which what was given up is told so


class Server(uvicorn.Server):
    """One process that serves until a signal.

    A second signal ends it at once, unless it is one of many: their parent sees to that. Such a
    one may end alone, as long as not `all_end`: then it leaves the listener to the others, at
    once, and refuses nobody.
    """

    def __init__(
        self,
        config: uvicorn.Config,
        shared: Shared,
        *,
        all_end: Callable[[], bool] | None = None,
        when_started: Callable[["Server"], None] = lambda _: None,
    ) -> None:
        super().__init__(config)
        self.server_state: Shared = shared
        self._all_end = all_end
        self._when_started = when_started
        self._asked = 0.0  # when the signal came
        self._lingers = False

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Begin to end; runs between any two instructions, however busy the loop is."""
        if self.server_state.drain.draining:
            if self._all_end is None:
                _die(sig)
            return
        super().handle_exit(sig, frame)
        self.should_exit = False  # not yet: `on_tick` says when
        self._asked = self._asked or time.monotonic()
        self._lingers = self.started and sig == signal.SIGTERM
        if not self._is_alone():
            self.server_state.drain.begin()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start to listen."""
        await super().startup(sockets)
        self._when_started(self)

    async def on_tick(self, counter: int) -> bool:
        """Ten times a second: whether it is time to end."""
        over = await super().on_tick(counter)
        if counter % 10 == 0:
            self._sweep()
        if not (self._asked or self.server_state.drain.draining):
            return over
        listens = LINGER if self._lingers else 0.0
        return over or self._spent() >= (ALONE if self._is_alone() else listens)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Finish what was accepted, close what is at rest, then end the application."""
        self._asked = self._asked or time.monotonic()
        log.info("ending: finishing what was accepted")
        if self._is_alone():
            await self._leave_listener(sockets or [])
        else:
            await self._stop_listening(sockets or [])
        # A process that was stopped for a while has outlived its time, and still says so.
        await self._until(max(GRACE, self._spent() + _FLUSH), self._finished)
        await self._give_up()
        left = max(END - self._spent(), _FLUSH)
        if threading.current_thread() is threading.main_thread():
            _end_within(left + _FLUSH)
        with suppress(TimeoutError):
            await asyncio.wait_for(self.lifespan.shutdown(), left)

    async def _stop_listening(self, inherited: list[socket.socket]) -> None:
        listeners = [sock.fileno() for server in self.servers for sock in server.sockets]
        for listener in listeners:
            sockets.begin_none(listener)
        settled = self._spent() + _SETTLE
        await self._until(
            settled + 0.5,
            lambda: self._spent() > settled and not any(map(sockets.readable, listeners)),
        )
        await self._close(inherited)

    async def _leave_listener(self, inherited: list[socket.socket]) -> None:
        await self._close(inherited)
        await self._until(
            self._spent() + _BEGIN, lambda: all(one.has_asked() for one in self._connections())
        )
        self.server_state.drain.begin()

    async def _close(self, inherited: list[socket.socket]) -> None:
        for server in self.servers:
            server.close()
        for sock in inherited:
            sock.close()
        await asyncio.sleep(0)  # what was accepted last becomes a connection

    async def _give_up(self) -> None:
        """Tell those who are not answered yet that they will not be."""
        told: set[asyncio.Task[None]] = set()

        def all_told() -> bool:
            for task in self.server_state.tasks - told:
                task.cancel("the service ends")
                told.add(task)
            return self._finished()

        if not self._finished():
            log.warning("%d requests are given up", len(self.server_state.tasks))
            for connection in self._connections():
                connection.give_up()
            await self._until(self._spent() + _FLUSH, all_told)
        for connection in self._connections():
            connection.transport.abort()

    def _finished(self) -> bool:
        now = asyncio.get_running_loop().time()
        for connection in self._connections():
            connection.retire(now)
        state = self.server_state
        return not (state.connections or state.tasks or state.refusals)

    def _sweep(self) -> None:
        now = asyncio.get_running_loop().time()
        for connection in self._connections():
            connection.expire(now)
        if self.server_state.refused:
            log.warning("refused %d connections too many", self.server_state.refused)
            self.server_state.refused = 0

    def _connections(self) -> list[Connection]:
        return [one for one in self.server_state.connections if isinstance(one, Connection)]

    def _is_alone(self) -> bool:
        draining = self.server_state.drain.draining
        return self._all_end is not None and not draining and not self._all_end()

    def _spent(self) -> float:
        return time.monotonic() - self._asked

    async def _until(self, spent: float, done: Callable[[], bool]) -> None:
        """Wait until `done`, or until so many seconds after the signal."""
        while not done() and self._spent() < spent:  # noqa: ASYNC110
            await asyncio.sleep(0.01)


def _end_within(seconds: float) -> None:
    """Bound what nobody can cancel: a thread in a forward pass, waited for at the very end."""

    def end() -> None:
        log.error("ended with threads that would not stop")
        os._exit(1)

    watchdog = threading.Timer(seconds, end)
    watchdog.daemon = True
    watchdog.start()


def _die(sig: int) -> None:
    signal.signal(sig, signal.SIG_DFL)
    signal.raise_signal(sig)
    os._exit(128 + sig)  # the first process of a container outlives its own signal
