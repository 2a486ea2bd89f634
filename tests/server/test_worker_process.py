"""Heartbeats of a worker: sent by the event loop, never blocking it."""

import asyncio
import os
import re
from collections.abc import Iterator
from contextlib import suppress
from multiprocessing import Pipe
from multiprocessing.connection import Connection

import pytest

from backend.inference.errors import StuckError
from backend.server import worker_process
from backend.server.worker_process import send_heartbeats


@pytest.fixture
def ends(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Connection, Connection]]:
    monkeypatch.setattr(worker_process, "HEARTBEAT_INTERVAL", 0.001)
    supervisor, worker = Pipe()
    os.set_blocking(supervisor.fileno(), False)
    with supervisor, worker:
        yield supervisor, worker


def read(pipe: Connection) -> bytes:
    return os.read(pipe.fileno(), 1_000_000)


def test_heartbeats_tell_whether_models_are_loaded(ends: tuple[Connection, Connection]) -> None:
    async def check() -> None:
        states = iter([True, True])
        send_heartbeats(ends[1], lambda: next(states, False))
        await asyncio.sleep(0.05)
        assert re.fullmatch(b"llr+", read(ends[0]))

    asyncio.run(check())


def test_worker_whose_decoders_are_stuck_sends_no_heartbeat(
    ends: tuple[Connection, Connection],
) -> None:
    def fail() -> bool:
        raise StuckError

    async def check() -> None:
        send_heartbeats(ends[1], fail)
        await asyncio.sleep(0.01)
        assert not ends[0].poll()

    asyncio.run(check())


def test_heartbeats_that_nobody_reads_do_not_block_the_loop(
    ends: tuple[Connection, Connection],
) -> None:
    async def check() -> None:
        send_heartbeats(ends[1], lambda: False)
        with suppress(BlockingIOError):
            while True:
                os.write(ends[1].fileno(), b"r" * 1000)
        await asyncio.sleep(0.01)
        with suppress(BlockingIOError):  # the supervisor reads again
            while True:
                read(ends[0])
        await asyncio.sleep(0.01)
        assert set(read(ends[0])) == set(b"r")

    asyncio.run(check())


def test_heartbeats_to_a_supervisor_that_died_are_ignored(
    ends: tuple[Connection, Connection],
) -> None:
    async def check() -> None:
        send_heartbeats(ends[1], lambda: False)
        ends[0].close()
        failures: list[object] = []
        asyncio.get_running_loop().set_exception_handler(
            lambda _, context: failures.append(context)
        )
        await asyncio.sleep(0.01)
        assert not failures

    asyncio.run(check())
