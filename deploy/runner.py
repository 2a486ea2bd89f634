"""Run several services together with honcho: start them, prefix their logs and stop them.

honcho's signal handler prints and sends signals immediately, which raises an error if the signal
arrives during another print or before all processes have started, and the time to stop is not
limited. Here the handler only records the request, and the loop handles it.
"""

from __future__ import annotations

import datetime
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from types import FrameType

from honcho.manager import Manager
from honcho.printer import Message, Printer

NAME = "prism"
STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Output(Printer):  # type: ignore[misc]  # honcho is not typed
    """Print to stdout until its reader is gone (a closed terminal, `| head`)."""

    closed = False

    def write(self, message: Message) -> None:
        """Print one message of type "line"; do not raise if the reader is gone."""
        if self.closed:
            return
        try:
            super().write(message)
        except OSError:
            self.closed = True
            # Writing the remaining buffer at exit would fail.
            os.dup2(os.open(os.devnull, os.O_WRONLY), self.output.fileno())


class Services(Manager):  # type: ignore[misc]  # honcho is not typed
    """Named processes that start and stop together.

    `when_started` runs in a separate thread once all processes have started; it prints with
    `print_line`. Processes that still run `stop_within` seconds after a stop request are killed.
    """

    def __init__(self, when_started: Callable[[Services], None], stop_within: float = 8.0) -> None:
        super().__init__(printer=Output(sys.stdout))
        self._when_started, self._stop_within = when_started, stop_within
        self._stop_since: float | None = None
        self._stop_requested = False
        self._first_exited: str | None = None

    @property
    def stopping(self) -> bool:
        """Whether the services are being stopped."""
        return self._stop_since is not None

    @property
    def exited_service(self) -> str | None:
        """The service that exited without a stop request and so stopped the others, if any."""
        return None if self._stop_requested else self._first_exited

    def run(self) -> None:
        """Start all, print their logs, and return when all have stopped."""
        try:
            self.loop()
        finally:
            for process in self._processes.values():
                if process.get("pid") is not None and process.get("returncode") is None:
                    self._procmgr.kill(process["pid"])

    def print_line(self, text: str) -> None:
        """Print a line between the logs; thread-safe."""
        self.events.put(Message("line", text, datetime.datetime.now(), NAME, None))

    def terminate(self) -> None:
        """Request a stop, which the loop performs once all processes have started."""
        if self._stop_since is None:
            self._stop_since = time.monotonic()

    def _request_stop(self, signum: int = 0, frame: FrameType | None = None) -> None:
        self._stop_requested = self._stop_requested or not self.stopping
        self.terminate()

    def _start(self) -> None:
        # Replace honcho's handlers. The forked wrapper processes inherit these, so that Ctrl-C
        # during the start does not stop them either.
        for number in STOP_SIGNALS:
            signal.signal(number, self._request_stop)
        super()._start()
        threading.Thread(target=self._when_started, args=(self,), daemon=True).start()

    def _all_started(self) -> bool:
        # The loop calls this at least ten times per second.
        started: bool = super()._all_started()
        if self._printer.closed:
            self._request_stop()
        if started and self._stop_since is not None:
            super().terminate()
            if time.monotonic() - self._stop_since > self._stop_within:
                self.kill()
        return started

    def _any_stopped(self) -> bool:
        stopped = [name for name, p in self._processes.items() if p.get("returncode") is not None]
        if stopped and self._first_exited is None:
            self._first_exited = stopped[0]
        return bool(stopped)
