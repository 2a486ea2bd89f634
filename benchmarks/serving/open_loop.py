"""The open loop: requests come by a schedule, whether or not the server keeps up."""

import asyncio
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from time import perf_counter

from benchmarks.serving.http_client import BROKEN, Connection, connect
from benchmarks.serving.responses import Answer, Records

_STEP = 0.0005  # seconds; uvloop rounds to 1 ms, and a request must not come before its time
LATE = 0.010  # seconds after its time at which a request counts as late


async def open_loop(
    port: int,
    requests: Iterator[bytes],
    connections: int,
    rate: float,
    warm: float,
    seconds: float,
    patience: float,
) -> Records:
    """Send `rate` requests a second for `warm + seconds`, over at most so many `connections`.

    What is under way at the end is waited for `patience` seconds at most. A request for which no
    connection is free waits, and its latency runs all the same.
    """
    return await _Loop(port, requests, connections).run(rate, warm, seconds, patience)


class _Loop:
    def __init__(self, port: int, requests: Iterator[bytes], limit: int) -> None:
        self._port, self._requests, self._limit = port, requests, limit
        self._free: list[Connection] = []
        self._all: set[Connection] = set()
        self._due: deque[float] = deque()  # of requests that no connection was free for
        self._opening: set[asyncio.Task[None]] = set()
        self._pending = 0
        self._drained = asyncio.Event()

    async def run(self, rate: float, warm: float, seconds: float, patience: float) -> Records:
        begin, late = perf_counter(), 0
        total = int(rate * (warm + seconds))
        self._records = Records(begin + warm, begin + warm + seconds)
        for number in range(total):
            due = begin + number / rate
            ahead = due - perf_counter()
            if ahead > 0:
                await asyncio.sleep(ahead + _STEP)
            elif number % 32 == 0:
                await asyncio.sleep(0)  # behind the schedule: answers have to be read all the same
            late += perf_counter() - due > LATE
            self._ask(due)
        self._records.late = late / max(1, total)
        with suppress(TimeoutError):
            self._drained.clear()
            if self._pending:
                await asyncio.wait_for(self._drained.wait(), patience)
        self._records.unanswered = self._pending
        for task in self._opening:
            task.cancel()
        for connection in self._all:
            connection.close()
        return self._records

    def _ask(self, due: float) -> None:
        self._pending += 1
        while self._free:
            connection = self._free.pop()
            if connection.alive:
                connection.send(next(self._requests), due)
                return
            self._all.discard(connection)
        self._due.append(due)
        self._open()

    def _open(self) -> None:
        if len(self._all) + len(self._opening) < self._limit:
            task = asyncio.ensure_future(self._connect())
            self._opening.add(task)
            task.add_done_callback(self._opening.discard)

    async def _connect(self) -> None:
        try:
            connection = await connect(self._port, self._answered)
        except OSError:
            if self._due:
                now, due = perf_counter(), self._due.popleft()
                self._record(Answer(now, now - due, BROKEN))
            return
        self._all.add(connection)
        self._take(connection)

    def _answered(self, connection: Connection, status: int) -> None:
        now = perf_counter()
        self._record(Answer(now, now - connection.due, status))
        if connection.alive:
            self._take(connection)
        else:
            self._all.discard(connection)
            if self._due:
                self._open()

    def _record(self, answer: Answer) -> None:
        self._pending -= 1
        if not self._pending:
            self._drained.set()
        self._records.answers.append(answer)

    def _take(self, connection: Connection) -> None:
        """Give a free connection what waits longest."""
        if self._due:
            connection.send(next(self._requests), self._due.popleft())
        else:
            self._free.append(connection)
