"""Run a command in a pseudo-terminal: read its output and press keys."""

import os
import pty
import select
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Self

ROOT = Path(__file__).parents[2]
CTRL_C = b"\x03"
# Makes the terminal on stdin the controlling terminal, so that Ctrl-C becomes a signal.
_TAKE_TERMINAL = (
    "import fcntl, os, sys, termios;"
    "fcntl.ioctl(0, termios.TIOCSCTTY, 0);"
    "os.execv(sys.argv[1], sys.argv[1:])"
)


class Terminal:
    """Runs `command`, whose first word is a path; the context manager stops it at the end."""

    def __init__(self, *command: str, **environ: str) -> None:
        self._screen, terminal = pty.openpty()
        self.text = ""
        self.process = subprocess.Popen(
            [sys.executable, "-c", _TAKE_TERMINAL, *command],
            stdin=terminal,
            stdout=terminal,
            stderr=terminal,
            start_new_session=True,
            cwd=ROOT,
            env={**os.environ, **environ},
        )
        os.close(terminal)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            self.process.wait(timeout=20)
        self.close()

    def press(self, key: bytes) -> None:
        """Send a key press."""
        os.write(self._screen, key)

    def close(self) -> None:
        """Close the terminal."""
        if self._screen >= 0:
            os.close(self._screen)
            self._screen = -1

    def read_until(self, text: str, seconds: float = 60) -> None:
        """Read the output until `text` appears; raise AssertionError otherwise."""
        end = time.monotonic() + seconds
        while text not in self.text:
            assert time.monotonic() < end, f"{text!r} did not appear in:\n{self.text}"
            if not self._read():
                raise AssertionError(f"the command exited without {text!r}:\n{self.text}")

    def wait_for_exit(self, seconds: float = 30) -> int:
        """Read until the command exits; return its exit status."""
        end = time.monotonic() + seconds
        while self._read():
            assert time.monotonic() < end, f"the command has not exited:\n{self.text}"
        return self.process.wait(timeout=seconds)

    def _read(self) -> bool:
        ready, _, _ = select.select([self._screen], [], [], 0.2)
        if not ready:
            return self.process.poll() is None
        try:
            data = os.read(self._screen, 65536)
        except OSError:  # Linux raises this once no process has the terminal open
            return False
        self.text += data.decode(errors="replace")
        return bool(data)
