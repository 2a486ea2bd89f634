"""Run the decoding worker and read its frames, within limits of time and size."""

import os
import select
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import IO, Final

from frontend.views.video.limits import MAX_FRAMES, MAX_MESSAGE_BYTES, WORKER_TIMEOUT
from frontend.views.video.protocol import HEADER, ClipInfo, End, Frame, Message, decode_message

_ROOT: Final = Path(__file__).parents[3]
_POLL_INTERVAL: Final = 0.2  # s between two checks of `is_stopped`
_GRACE_PERIOD: Final = 5.0  # s that the worker may take to end after SIGTERM
_INHERITED_VARIABLES: Final = ("PATH", "HOME", "LANG", "LD_LIBRARY_PATH", "PYTHONPATH")


class FrameReader:
    """Read `rate` frames per second of a clip from a worker process.

    with FrameReader(clip, preview, rate=2.0, is_stopped=job.is_cancelled) as reader:
        for frame in reader: ...
    print(reader.info, reader.end)

    The worker is killed after `timeout` seconds of waiting for it. It writes a reduced copy of the
    clip to `preview` if browsers cannot play the clip itself. Leaving the `with` block early
    terminates the worker with SIGTERM first, so that the copy can be played.
    """

    def __init__(
        self,
        clip: Path,
        preview: Path,
        *,
        rate: float,
        is_stopped: Callable[[], bool] = lambda: False,
        timeout: float = WORKER_TIMEOUT,
    ) -> None:
        self.info: ClipInfo | None = None
        self.end: End | None = None
        self._is_stopped = is_stopped
        self._time_left = timeout
        self._buffer = bytearray()
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
                env={name: os.environ[name] for name in _INHERITED_VARIABLES if name in os.environ},
                stdin=source,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                pass_fds=[target.fileno()],
            )
        assert self.process.stdout is not None  # noqa: S101 (it is a pipe)
        self._pipe: IO[bytes] = self.process.stdout

    def __enter__(self) -> "FrameReader":
        return self

    def __exit__(self, *_: object) -> None:
        """End the worker, and store its last message."""
        if self.end is None and self.process.poll() is None:
            self.process.terminate()
            self._time_left = min(self._time_left, _GRACE_PERIOD)
            self._is_stopped = lambda: False
            for _frame in self:
                pass
        self._kill()
        self._pipe.close()

    def __iter__(self) -> Iterator[Frame]:
        """Yield the frames as they arrive, until the end or until `is_stopped` returns true."""
        count = 0
        while self.end is None and not self._is_stopped():
            try:
                message = self._receive()
            except (EOFError, ValueError):
                message = End(error="crashed")
            except TimeoutError:
                message = End(error="slow")
            match message:
                case Frame() if count == MAX_FRAMES:
                    self.end = End(error="crashed")
                    self._kill()
                case Frame():
                    count += 1
                    yield message
                case ClipInfo():
                    self.info = message
                case End():
                    self.end = message
                    self._kill()

    def _receive(self) -> Message | None:
        """Return the next message; None after a poll interval without a complete one."""
        if len(self._buffer) >= HEADER.size:
            kind, size = HEADER.unpack_from(self._buffer)
            if size > MAX_MESSAGE_BYTES:
                raise ValueError("the worker message exceeds the size limit")
            if len(self._buffer) >= HEADER.size + size:
                body = bytes(self._buffer[HEADER.size : HEADER.size + size])
                del self._buffer[: HEADER.size + size]
                return decode_message(kind, body)
        self._fill_buffer()
        return None

    def _fill_buffer(self) -> None:
        """Read what the worker has written; raise EOFError or TimeoutError."""
        poll = select.poll()
        poll.register(self._pipe, select.POLLIN)
        start = time.monotonic()
        is_ready = poll.poll(_POLL_INTERVAL * 1000)
        self._time_left -= time.monotonic() - start
        if is_ready:
            if not (content := os.read(self._pipe.fileno(), 1 << 20)):
                raise EOFError
            self._buffer += content
        if self._time_left <= 0:
            raise TimeoutError

    def _kill(self) -> None:
        with suppress(ProcessLookupError):
            self.process.kill()
        self.process.wait()
