"""The closed loop: so many clients, each of which waits for its answer before it asks again."""

import asyncio
from collections.abc import Iterator
from time import perf_counter

from benchmarks.serving.http_client import BROKEN, Connection, connect
from benchmarks.serving.responses import Answer, Records

_PAUSE = 0.01  # seconds before a client whose connection broke comes back


async def closed_loop(
    port: int, requests: Iterator[bytes], clients: int, warm: float, seconds: float
) -> Records:
    """Keep `clients` connections busy for `warm + seconds`; what ends later is not waited for.

    Raises OSError where nobody listens at the beginning.
    """
    return await _Loop(port, requests).run(clients, warm, seconds)


class _Loop:
    def __init__(self, port: int, requests: Iterator[bytes]) -> None:
        self._port, self._requests = port, requests
        self._returning: set[asyncio.Task[None]] = set()
        self._over = False

    async def run(self, clients: int, warm: float, seconds: float) -> Records:
        connections = [await connect(self._port, self._answered) for _ in range(clients)]
        self._connections = set(connections)
        start = perf_counter() + warm
        self._records = Records(start, start + seconds)
        for connection in connections:
            connection.send(next(self._requests))
        await asyncio.sleep(warm + seconds)
        self._over = True
        for task in self._returning:
            task.cancel()
        for connection in self._connections:
            connection.close()
        return self._records

    def _answered(self, connection: Connection, status: int) -> None:
        now = perf_counter()
        self._records.answers.append(Answer(now, now - connection.due, status))
        if self._over:
            return
        if connection.alive:
            connection.send(next(self._requests))
        else:
            self._connections.discard(connection)
            task = asyncio.ensure_future(self._return(pause=status == BROKEN))
            self._returning.add(task)
            task.add_done_callback(self._returning.discard)

    async def _return(self, *, pause: bool) -> None:
        if pause:
            await asyncio.sleep(_PAUSE)
        while not self._over:
            try:
                connection = await connect(self._port, self._answered)
            except OSError:
                await asyncio.sleep(_PAUSE)
                continue
            self._connections.add(connection)
            connection.send(next(self._requests))
            return
