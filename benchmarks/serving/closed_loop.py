"""The closed loop: each client waits for its response before it sends the next request."""

import asyncio
from collections.abc import Iterator
from time import perf_counter

from benchmarks.serving.http_client import BROKEN, Connection, connect
from benchmarks.serving.stats import Response, RunRecord

_RECONNECT_DELAY = 0.01  # seconds, after a broken connection


async def closed_loop(
    port: int, requests: Iterator[bytes], clients: int, warmup: float, seconds: float
) -> RunRecord:
    """Keep `clients` connections busy for `warmup + seconds`, then close them.

    Raise OSError if no server listens at the start.
    """
    return await _Loop(port, requests).run(clients, warmup, seconds)


class _Loop:
    def __init__(self, port: int, requests: Iterator[bytes]) -> None:
        self._port, self._requests = port, requests
        self._reconnecting: set[asyncio.Task[None]] = set()
        self._is_over = False

    async def run(self, clients: int, warmup: float, seconds: float) -> RunRecord:
        connections = [await connect(self._port, self._on_response) for _ in range(clients)]
        self._connections = set(connections)
        start = perf_counter() + warmup
        self._record = RunRecord(start, start + seconds)
        for connection in connections:
            connection.send(next(self._requests))
        await asyncio.sleep(warmup + seconds)
        self._is_over = True
        for task in self._reconnecting:
            task.cancel()
        for connection in self._connections:
            connection.close()
        return self._record

    def _on_response(self, connection: Connection, status: int) -> None:
        now = perf_counter()
        self._record.responses.append(Response(now, now - connection.due, status))
        if self._is_over:
            return
        if connection.is_open:
            connection.send(next(self._requests))
        else:
            self._connections.discard(connection)
            delay = _RECONNECT_DELAY if status == BROKEN else 0
            task = asyncio.ensure_future(self._reconnect(delay))
            self._reconnecting.add(task)
            task.add_done_callback(self._reconnecting.discard)

    async def _reconnect(self, delay: float) -> None:
        if delay:
            await asyncio.sleep(delay)
        while not self._is_over:
            try:
                connection = await connect(self._port, self._on_response)
            except OSError:
                await asyncio.sleep(_RECONNECT_DELAY)
                continue
            self._connections.add(connection)
            connection.send(next(self._requests))
            return
