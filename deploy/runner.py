"""Several services as one: honcho starts them, prefixes their logs and stops them together.

honcho's own signal handler prints and signals at once, which raises when the signal lands inside
another print or before every process has started, and nothing bounds how long a service may take
to stop. Here a handler only notes the wish; the loop acts on it.
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


class Output(Printer):  # type: ignore[misc]  # honcho carries no types
    """Print to stdout until its reader has gone (a closed terminal, `| head`), then say nothing."""

    closed = False

    def write(self, message: Message) -> None:
        """Print one message of type "line"; never raises for a lost reader."""
        if self.closed:
            return
        try:
            super().write(message)
        except OSError:
            self.closed = True
            # What is still buffered would be written at the very end, and fail there.
            os.dup2(os.open(os.devnull, os.O_WRONLY), self.output.fileno())


class Services(Manager):  # type: ignore[misc]  # honcho carries no types
    """Named processes that live and die together.

    `when_started` runs in a thread of its own once every process was started; it reports with
    `say`. After a stop was asked for, what still runs `stop_within` seconds later is killed.
    """

    def __init__(self, when_started: Callable[[Services], None], stop_within: float = 8.0) -> None:
        super().__init__(printer=Output(sys.stdout))
        self._when_started = when_started
        self._stop_within = stop_within
        self._stop_since: float | None = None
        self._stop_requested = False
        self._first_to_end: str | None = None

    @property
    def stopping(self) -> bool:
        """Whether the services are being stopped, for whatever reason."""
        return self._stop_since is not None

    @property
    def ended_by_itself(self) -> str | None:
        """The name of the service that ended unasked and so stopped the others, if one did."""
        return None if self._stop_requested else self._first_to_end

    def run(self) -> None:
        """Start all, stream their logs, return when all have stopped."""
        try:
            self.loop()
        finally:
            self._kill_rest()

    def say(self, text: str) -> None:
        """Print a line among the logs; may be called from any thread."""
        line = Message("line", text, datetime.datetime.now(), NAME, None)
        self.events.put(line)

    def terminate(self) -> None:
        """Ask for a stop; the loop acts on it once every process was started."""
        if self._stop_since is None:
            self._stop_since = time.monotonic()

    def _request_stop(self, signum: int = 0, frame: FrameType | None = None) -> None:
        self._stop_requested = self._stop_requested or not self.stopping
        self.terminate()

    def _start(self) -> None:
        # From here on instead of honcho's handlers, set a moment ago. The processes' wrappers are
        # forked and inherit them, so that a Ctrl-C during start-up does not reach them either.
        for number in STOP_SIGNALS:
            signal.signal(number, self._request_stop)
        super()._start()
        threading.Thread(target=self._when_started, args=(self,), daemon=True).start()

    def _all_started(self) -> bool:
        # The loop asks this at least ten times a second: the one place to act from.
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
        if stopped and self._first_to_end is None:
            self._first_to_end = stopped[0]
        return bool(stopped)

    def _kill_rest(self) -> None:
        for process in self._processes.values():
            if process.get("pid") is not None and process.get("returncode") is None:
                self._procmgr.kill(process["pid"])
