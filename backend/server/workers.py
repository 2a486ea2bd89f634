"""Worker processes that share one listening socket: started, replaced when one dies, stopped.

uvicorn's own supervisor checks for signals only twice a second, waits for its children without a
time limit, and its arguments differ between versions.
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

from backend.telemetry.metrics import FOLDER, remove_worker

log = logging.getLogger("prism.workers")

SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)

_KILL_AFTER: Final = 7.9  # seconds after the signal; workers that still run are killed
_RESTART_INTERVAL: Final = 1.0  # seconds at least from a worker's start to its replacement's

Work = Callable[[socket.socket, Connection], None]


@dataclass(slots=True)
class Worker:
    """One process; it writes to `pipe` once it serves, and closing `pipe` stops it."""

    process: SpawnProcess
    pipe: Connection
    started_at: float

    def has_served(self) -> bool:
        """Return whether the worker started to serve."""
        with suppress(EOFError, OSError):
            return self.pipe.poll() and bool(self.pipe.recv_bytes())
        return False


class WorkerSupervisor:
    """Runs `work(listener, pipe)` in `count` processes until a signal arrives."""

    def __init__(self, work: Work, count: int, listener: socket.socket) -> None:
        self._work = work
        self._listener = listener
        self._workers: list[Worker] = []
        self._start_times = [0.0] * count  # when each missing worker may start
        self._signals: list[int] = []
        self._kill_time: float | None = None  # set once the workers are stopping
        self._has_failed = False

    def run(self) -> int | None:
        """Serve until a signal; return its number, or None if a worker failed to start."""
        with _wakeup_socket(self._on_signal) as wakeup, _metrics_folder():
            try:
                while self._kill_time is None or self._workers:
                    self._start_missing()
                    sentinels = [worker.process.sentinel for worker in self._workers]
                    wait([*sentinels, wakeup], self._wait_timeout())
                    with suppress(BlockingIOError):
                        wakeup.recv(100)
                    self._handle_signals()
                    self._reap()
            finally:
                self._kill()
        return None if self._has_failed else self._signals[0]

    def _start_missing(self) -> None:
        if self._kill_time is not None:
            return
        now = time.monotonic()
        for start_time in [moment for moment in self._start_times if moment <= now]:
            self._start_times.remove(start_time)
            self._start()

    def _start(self) -> None:
        context = multiprocessing.get_context("spawn")
        own_end, worker_end = context.Pipe()
        process = context.Process(target=self._work, args=(self._listener, worker_end))
        process.start()
        worker_end.close()
        self._workers.append(Worker(process, own_end, time.monotonic()))

    def _reap(self) -> None:
        """Remove the workers that ended and schedule their replacements."""
        for worker in [one for one in self._workers if not one.process.is_alive()]:
            self._workers.remove(worker)
            remove_worker(worker.process.pid or 0)
            if self._kill_time is not None:
                continue
            if worker.has_served():
                log.warning("worker %s died: starting a replacement", worker.process.pid)
                self._start_times.append(worker.started_at + _RESTART_INTERVAL)
            else:
                log.error("a worker failed to start; see the log lines above")
                self._has_failed = True
                self._stop(signal.SIGTERM)

    def _on_signal(self, sig: int, _: FrameType | None) -> None:
        self._signals.append(sig)

    def _handle_signals(self) -> None:
        if self._kill_time is None:
            if self._signals:
                self._stop(self._signals[0])
        elif len(self._signals) > 1 or time.monotonic() >= self._kill_time:
            self._kill()

    def _stop(self, sig: int) -> None:
        self._kill_time = time.monotonic() + _KILL_AFTER
        self._listener.close()  # the workers hold it too; it closes with the last of them
        for worker in self._workers:
            worker.pipe.close()  # before the signal: it means that the whole service stops
            with suppress(ProcessLookupError):
                os.kill(worker.process.pid or 0, sig)

    def _kill(self) -> None:
        for worker in self._workers:
            worker.process.kill()

    def _wait_timeout(self) -> float | None:
        """Return the seconds until the next start or kill; None if neither is due."""
        moments = self._start_times if self._kill_time is None else [self._kill_time]
        return max(0.0, min(moments) - time.monotonic()) if moments else None


@contextmanager
def _wakeup_socket(handler: Callable[[int, FrameType | None], None]) -> Iterator[socket.socket]:
    """Yield a socket that becomes readable on a signal, which alone does not interrupt a wait."""
    receiver, sender = socket.socketpair()
    with receiver, sender:
        receiver.setblocking(False)
        sender.setblocking(False)
        previous_handlers = {sig: signal.signal(sig, handler) for sig in SIGNALS}
        previous_fd = signal.set_wakeup_fd(sender.fileno(), warn_on_full_buffer=False)
        try:
            yield receiver
        finally:
            signal.set_wakeup_fd(previous_fd)
            for sig, previous in previous_handlers.items():
                signal.signal(sig, previous)


@contextmanager
def _metrics_folder() -> Iterator[None]:
    """Create the folder in which the workers' metrics are summed, unless the operator set one."""
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
