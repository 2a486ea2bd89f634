"""Several processes that serve one socket: started, replaced where one dies, ended together.

uvicorn's own supervisor looks for signals twice a second, waits without bound for its children,
and takes different arguments from version to version.
"""

import logging
import multiprocessing
import os
import shutil
import signal
import socket
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from types import FrameType
from typing import Final

from backend.telemetry.metrics import FOLDER, forget_worker

log = logging.getLogger("prism.workers")

SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)

_END: Final = 7.9  # seconds after the signal at which what still runs is killed
_PAUSE: Final = 1.0  # seconds from a worker's start to that of its successor, at least

Work = Callable[[socket.socket, Connection], None]


@dataclass(slots=True)
class Worker:
    """One process; its `lifeline` says when it serves, and ends when the parent or all end."""

    process: SpawnProcess
    lifeline: Connection
    born: float

    def has_served(self) -> bool:
        """Whether it came as far as serving."""
        with suppress(EOFError, OSError):
            return self.lifeline.poll() and bool(self.lifeline.recv_bytes())
        return False


class Workers:
    """`count` processes that run `work(listener, lifeline)` until a signal."""

    def __init__(self, work: Work, count: int, listener: socket.socket) -> None:
        self._work = work
        self._listener = listener
        self._workers: list[Worker] = []
        self._due = [0.0] * count  # when those that are missing may be started
        self._signals: list[int] = []
        self._end: float | None = None  # when those that still run are killed
        self._broken = False

    def run(self) -> int | None:
        """Serve until a signal; which one, or None where a worker could not start."""
        with _wakened_by_signals(self._on_signal) as wakened, _folder_for_metrics():
            try:
                while self._end is None or self._workers:
                    self._start_missing()
                    sentinels = [worker.process.sentinel for worker in self._workers]
                    wait([*sentinels, wakened], self._patience())
                    with suppress(BlockingIOError):
                        wakened.recv(100)
                    self._pass_on()
                    self._bury()
            finally:
                self._kill()
        return None if self._broken else self._signals[0]

    def _start_missing(self) -> None:
        now = time.monotonic()
        for due in [due for due in self._due if due <= now and self._end is None]:
            self._due.remove(due)
            self._start()

    def _start(self) -> None:
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        process = context.Process(target=self._work, args=(self._listener, theirs))
        process.start()
        theirs.close()
        self._workers.append(Worker(process, ours, time.monotonic()))

    def _bury(self) -> None:
        """Take leave of those that have ended; others take their places."""
        for worker in [one for one in self._workers if not one.process.is_alive()]:
            self._workers.remove(worker)
            forget_worker(worker.process.pid or 0)
            if self._end is not None:
                continue
            if worker.has_served():
                log.warning("worker %s died: another takes its place", worker.process.pid)
                self._due.append(worker.born + _PAUSE)
            else:
                log.error("a worker could not start; the lines above say why")
                self._broken = True
                self._begin_end(signal.SIGTERM)

    def _on_signal(self, sig: int, _: FrameType | None) -> None:
        self._signals.append(sig)

    def _pass_on(self) -> None:
        if self._end is None:
            if self._signals:
                self._begin_end(self._signals[0])
        elif len(self._signals) > 1 or time.monotonic() >= self._end:
            self._kill()

    def _begin_end(self, sig: int) -> None:
        self._end = time.monotonic() + _END
        self._listener.close()  # the workers have it too: the last of them ends it
        for worker in self._workers:
            worker.lifeline.close()  # before the signal, which is meant for all
            with suppress(ProcessLookupError):
                os.kill(worker.process.pid or 0, sig)

    def _kill(self) -> None:
        for worker in self._workers:
            worker.process.kill()

    def _patience(self) -> float | None:
        moments = [*self._due, self._end] if self._end is None else [self._end]
        known = [moment for moment in moments if moment is not None]
        return max(0.0, min(known) - time.monotonic()) if known else None


@contextmanager
def _wakened_by_signals(
    handler: Callable[[int, FrameType | None], None],
) -> Iterator[socket.socket]:
    """A socket that can be read once a signal has come, which interrupts no wait by itself."""
    wakened, waker = socket.socketpair()
    with wakened, waker:
        wakened.setblocking(False)
        waker.setblocking(False)
        before = {sig: signal.signal(sig, handler) for sig in SIGNALS}
        old = signal.set_wakeup_fd(waker.fileno(), warn_on_full_buffer=False)
        try:
            yield wakened
        finally:
            signal.set_wakeup_fd(old)
            for sig, what in before.items():
                signal.signal(sig, what)


@contextmanager
def _folder_for_metrics() -> Iterator[None]:
    """Where the workers' figures are added up, unless the operator has named a folder."""
    if FOLDER in os.environ:
        yield
        return
    folder = tempfile.mkdtemp(prefix="prism-metrics-")
    os.environ[FOLDER] = folder
    try:
        yield
    finally:
        del os.environ[FOLDER]
        shutil.rmtree(folder, ignore_errors=True)
