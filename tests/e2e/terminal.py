"""A command in a terminal of its own, as a person starts it: what it prints, and keys pressed."""

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
# makes the terminal on stdin the controlling one, without which Ctrl-C is no signal
_TAKE_TERMINAL = (
    "import fcntl, os, sys, termios;"
    "fcntl.ioctl(0, termios.TIOCSCTTY, 0);"
    "os.execv(sys.argv[1], sys.argv[1:])"
)


class Terminal:
    """Runs `command` (its first word a path); as a context manager it leaves nothing running."""

    def __init__(self, *command: str, **environ: str) -> None:
        self._screen, inside = pty.openpty()
        self.text = ""
        self.process = subprocess.Popen(
            [sys.executable, "-c", _TAKE_TERMINAL, *command],
            stdin=inside,
            stdout=inside,
            stderr=inside,
            start_new_session=True,
            cwd=ROOT,
            env={**os.environ, **environ},
        )
        os.close(inside)

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
        """Press `key`."""
        os.write(self._screen, key)

    def close(self) -> None:
        """Close the window."""
        if self._screen >= 0:
            os.close(self._screen)
            self._screen = -1

    def read_until(self, words: str, seconds: float = 60) -> None:
        """Read what is printed until `words` appear; AssertionError where they do not."""
        end = time.monotonic() + seconds
        while words not in self.text:
            assert time.monotonic() < end, f"{words!r} did not appear in:\n{self.text}"
            if not self._read():
                raise AssertionError(f"it ended without {words!r}:\n{self.text}")

    def read_to_the_end(self, seconds: float = 30) -> int:
        """Read until the command has ended; its exit status."""
        end = time.monotonic() + seconds
        while self._read():
            assert time.monotonic() < end, f"it has not ended:\n{self.text}"
        return self.process.wait(timeout=seconds)

    def _read(self) -> bool:
        ready, _, _ = select.select([self._screen], [], [], 0.2)
        if not ready:
            return self.process.poll() is None
        try:
            data = os.read(self._screen, 65536)
        except OSError:  # how Linux says that nobody has the terminal open any more
            return False
        self.text += data.decode(errors="replace")
        return bool(data)
