"""The open loop: requests follow a schedule, independent of the responses."""

import asyncio
import random
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from time import perf_counter

from benchmarks.serving.http_client import BROKEN, Connection, connect
from benchmarks.serving.stats import Response, RunRecord

_ROUNDING = 0.0005  # seconds; uvloop rounds to 1 ms, and requests must not be sent early
_LATE = 0.010  # seconds after its scheduled time at which a request counts as late


async def open_loop(
    port: int,
    requests: Iterator[bytes],
    connections: int,
    rate: float,
    warmup: float,
    seconds: float,
    drain_timeout: float,
    *,
    seed: int | None = None,
) -> RunRecord:
    """Send `rate` requests per second for `warmup + seconds` over at most `connections`.

    They are evenly spaced, or, with a `seed`, follow a Poisson process, as independent users do.
    Wait up to `drain_timeout` seconds for pending responses at the end. A request waits if no
    connection is free; its latency includes this time.
    """
    times = schedule(rate, warmup + seconds, seed)
    return await _Loop(port, requests, connections).run(times, warmup, seconds, drain_timeout)


def schedule(rate: float, seconds: float, seed: int | None) -> list[float]:
    """Return the times of requests in seconds from the start, ascending, all below `seconds`."""
    if seed is None:
        return [number / rate for number in range(int(rate * seconds))]
    generator, times, now = random.Random(seed), list[float](), 0.0
    while (now := now + generator.expovariate(rate)) < seconds:
        times.append(now)
    return times


class _Loop:
    def __init__(self, port: int, requests: Iterator[bytes], limit: int) -> None:
        self._port, self._requests, self._limit = port, requests, limit
        self._free: list[Connection] = []
        self._all: set[Connection] = set()
        self._queue: deque[float] = deque()  # due times of requests without a connection
        self._opening: set[asyncio.Task[None]] = set()
        self._pending = 0
        self._drained = asyncio.Event()

    async def run(
        self, times: list[float], warmup: float, seconds: float, drain: float
    ) -> RunRecord:
        begin, late = perf_counter(), 0
        self._record = RunRecord(begin + warmup, begin + warmup + seconds)
        for number, offset in enumerate(times):
            due = begin + offset
            ahead = due - perf_counter()
            if ahead > 0:
                await asyncio.sleep(ahead + _ROUNDING)
            elif number % 32 == 0:
                await asyncio.sleep(0)  # behind schedule: responses must still be read
            late += perf_counter() - due > _LATE
            self._send(due)
        self._record.late = late / max(1, len(times))
        with suppress(TimeoutError):
            self._drained.clear()
            if self._pending:
                await asyncio.wait_for(self._drained.wait(), drain)
        self._record.unanswered = self._pending
        for task in self._opening:
            task.cancel()
        for connection in self._all:
            connection.close()
        return self._record

    def _send(self, due: float) -> None:
        self._pending += 1
        while self._free:
            connection = self._free.pop()
            if connection.is_open:
                connection.send(next(self._requests), due)
                return
            self._all.discard(connection)
        self._queue.append(due)
        self._open()

    def _open(self) -> None:
        if len(self._all) + len(self._opening) < self._limit:
            task = asyncio.ensure_future(self._connect())
            self._opening.add(task)
            task.add_done_callback(self._opening.discard)

    async def _connect(self) -> None:
        try:
            connection = await connect(self._port, self._on_response)
        except OSError:
            if self._queue:
                now, due = perf_counter(), self._queue.popleft()
                self._add_response(Response(now, now - due, BROKEN))
            return
        self._all.add(connection)
        self._assign(connection)

    def _on_response(self, connection: Connection, status: int) -> None:
        now = perf_counter()
        self._add_response(Response(now, now - connection.due, status))
        if connection.is_open:
            self._assign(connection)
        else:
            self._all.discard(connection)
            if self._queue:
                self._open()

    def _add_response(self, response: Response) -> None:
        self._pending -= 1
        if not self._pending:
            self._drained.set()
        self._record.responses.append(response)

    def _assign(self, connection: Connection) -> None:
        """Send the oldest queued request over a free connection."""
        if self._queue:
            connection.send(next(self._requests), self._queue.popleft())
        else:
            self._free.append(connection)
