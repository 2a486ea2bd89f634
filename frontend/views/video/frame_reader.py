"""The worker as the page sees it: frames of a clip, one after the other, within limits."""

import os
import select
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import IO, Final

from frontend.views.video.limits import FRAMES, MESSAGE_BYTES, WALL_SECONDS
from frontend.views.video.protocol import HEADER, End, Frame, Info, Message, unpacked

_ROOT: Final = Path(__file__).parents[3]
_LOOK: Final = 0.2  # s between two looks at whether to stop
_GRACE: Final = 5.0  # s to end in good order
_PASSED_ON: Final = ("PATH", "HOME", "LANG", "LD_LIBRARY_PATH", "PYTHONPATH")


class Frames:
    """Reads `rate` frames per second of the clip in a process of its own, and can be left early.

    with Frames(clip, preview, rate=2.0, is_stopped=job.is_cancelled) as frames:
        for frame in frames: ...
    print(frames.info, frames.end)

    The process is waited for no longer than `patience` seconds in all, and killed then. It writes
    a small copy of the clip to `preview` where browsers would not play the clip itself. When the
    `with` ends, so does the process: in good order first, so that the copy can be played.
    """

    def __init__(
        self,
        clip: Path,
        preview: Path,
        *,
        rate: float,
        is_stopped: Callable[[], bool] = lambda: False,
        patience: float = WALL_SECONDS,
    ) -> None:
        self.info: Info | None = None
        self.end: End | None = None
        self._is_stopped = is_stopped
        self._patience = patience
        self._held = bytearray()
        with clip.open("rb") as source, preview.open("w+b") as target:
            self.process = subprocess.Popen(  # noqa: S603 (our own module)
                [
                    sys.executable,
                    "-m",
                    "frontend.views.video.worker",
                    str(rate),
                    str(target.fileno()),
                ],
                cwd=_ROOT,
                env={name: os.environ[name] for name in _PASSED_ON if name in os.environ},
                stdin=source,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                pass_fds=[target.fileno()],
            )
        assert self.process.stdout is not None  # noqa: S101 (it is a pipe)
        self._pipe: IO[bytes] = self.process.stdout

    def __enter__(self) -> "Frames":
        return self

    def __exit__(self, *_: object) -> None:
        """End the process; what it still tells of its end is kept."""
        if self.end is None and self.process.poll() is None:
            self.process.terminate()
            self._patience = min(self._patience, _GRACE)
            self._is_stopped = lambda: False
            for _frame in self:
                pass
        self._kill()
        self._pipe.close()

    def __iter__(self) -> Iterator[Frame]:
        """Yield the frames as they come; stops early where that is asked for."""
        told = 0
        while self.end is None and not self._is_stopped():
            try:
                message = self._message()
            except (EOFError, ValueError):
                message = End(trouble="crashed")
            except TimeoutError:
                message = End(trouble="slow")
            match message:
                case Frame() if told == FRAMES:
                    self.end = End(trouble="crashed")
                    self._kill()
                case Frame():
                    told += 1
                    yield message
                case Info():
                    self.info = message
                case End():
                    self.end = message
                    self._kill()

    def _message(self) -> Message | None:
        """Return the next message; None where there is time to look around."""
        if len(self._held) >= HEADER.size:
            kind, size = HEADER.unpack_from(self._held)
            if size > MESSAGE_BYTES:
                raise ValueError("too long a message")
            if len(self._held) >= HEADER.size + size:
                body = bytes(self._held[HEADER.size : HEADER.size + size])
                del self._held[: HEADER.size + size]
                return unpacked(kind, body)
        self._receive()
        return None

    def _receive(self) -> None:
        """Take in what the worker has written; raises EOFError, TimeoutError."""
        poll = select.poll()
        poll.register(self._pipe, select.POLLIN)
        began = time.monotonic()
        is_there = poll.poll(_LOOK * 1000)
        self._patience -= time.monotonic() - began
        if is_there:
            if not (content := os.read(self._pipe.fileno(), 1 << 20)):
                raise EOFError
            self._held += content
        if self._patience <= 0:
            raise TimeoutError

    def _kill(self) -> None:
        with suppress(ProcessLookupError):
            self.process.kill()
        self.process.wait()
