"""One worker process: its start, its heartbeats and its end.

A worker sends heartbeats from its event loop, so that they stop when the process is suspended, when
the loop hangs, and when a thread holds the interpreter lock.
"""

import asyncio
import multiprocessing
import os
import signal
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.connection import Connection
from typing import Final

from backend.inference.errors import StuckError
from backend.server.reloading import reload_blocked
from backend.telemetry.metrics import remove_worker

CONFIG_ERROR: Final = 78  # exit status of a worker whose settings are invalid (EX_CONFIG)
HEARTBEAT_INTERVAL: Final = 1.0  # seconds

_LOADING: Final = b"l"
_READY: Final = b"r"

Work = Callable[[socket.socket, Connection], None]


def send_heartbeats(pipe: Connection, is_loading: Callable[[], bool]) -> None:
    """Send a heartbeat from the running event loop now and every second.

    It says whether the models are loaded. There is none if `is_loading` raises StuckError.
    Heartbeats are dropped while the supervisor does not read
    them, for instance because it is suspended.
    """
    os.set_blocking(pipe.fileno(), False)
    loop = asyncio.get_running_loop()

    def beat() -> None:
        # The supervisor may not read, or be gone. A worker whose decoders are stuck is replaced.
        with suppress(OSError, StuckError):
            os.write(pipe.fileno(), _LOADING if is_loading() else _READY)
        loop.call_later(HEARTBEAT_INTERVAL, beat)

    beat()


class Worker:
    """A process that runs `work(listener, pipe)`; closing the pipe stops it.

    `failed_starts` is the number of its predecessors that ended before they were ready, since the
    last one that was. Raises OSError if the process cannot be created.
    """

    def __init__(self, work: Work, listener: socket.socket, failed_starts: int) -> None:
        context = multiprocessing.get_context("spawn")
        self.pipe, worker_end = context.Pipe()
        self.process: Final = context.Process(target=work, args=(listener, worker_end))
        try:
            with reload_blocked():  # until the worker handles SIGHUP itself
                self.process.start()
        except OSError:
            self.pipe.close()
            raise
        finally:
            worker_end.close()
        os.set_blocking(self.pipe.fileno(), False)
        self.failed_starts: Final = failed_starts
        self.started_at: Final = time.monotonic()
        self.is_ready = False  # its models are loaded, or failed to load
        self.silent_checks = 0  # consecutive checks without a heartbeat
        self.suspended_checks = 0  # consecutive checks that found the process suspended
        self.is_killed = False

    @property
    def pid(self) -> int:
        """Process ID."""
        return self.process.pid or 0

    def read_heartbeats(self) -> bool:
        """Read the heartbeats that have arrived; return whether there were any."""
        with suppress(OSError):  # none
            if heartbeats := os.read(self.pipe.fileno(), 65_536):
                self.is_ready = self.is_ready or _READY in heartbeats
                return True
        return False

    def check(self) -> None:
        """Count another check."""
        self.silent_checks = 0 if self.read_heartbeats() else self.silent_checks + 1
        self.suspended_checks = self.suspended_checks + 1 if self._is_suspended() else 0

    def reload(self) -> None:
        """Let the worker read the models again, as soon as it has started."""
        with suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGHUP)

    def kill(self) -> None:
        """Send SIGKILL."""
        self.is_killed = True
        self.process.kill()

    def stop(self, sig: int) -> None:
        """Close the pipe and send `sig`."""
        self.pipe.close()  # before the signal: it means that the whole service stops
        with suppress(ProcessLookupError):
            os.kill(self.pid, sig)

    def close(self) -> str:
        """Release what belongs to an ended process; return how it ended."""
        self.pipe.close()
        with suppress(OSError):
            remove_worker(self.pid)
        status = self.process.exitcode or 0
        return f"exit status {status}" if status >= 0 else signal.Signals(-status).name

    def _is_suspended(self) -> bool:
        """Return whether a signal such as SIGSTOP suspended the process; False where unknown."""
        if not hasattr(os, "waitid"):  # macOS before Python 3.13
            return False
        with suppress(ChildProcessError):
            options = os.WSTOPPED | os.WNOHANG | os.WNOWAIT
            return os.waitid(os.P_PID, self.pid, options) is not None
        return False
