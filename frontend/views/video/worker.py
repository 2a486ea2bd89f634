"""The process that decodes a clip: `python -m frontend.views.video.worker RATE PREVIEW_FD <clip`.

The clip is its input; what it finds goes to its output (`frontend.views.video.protocol`), a small copy
for browsers into the file descriptor PREVIEW_FD where that is needed. It limits itself before it
looks at the clip: from then on it can open nothing, neither a file nor a connection. SIGTERM makes
it end early and in good order.
"""

import importlib
import io
import os
import pkgutil
import resource
import signal
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from typing import BinaryIO

import av
from PIL import Image

from frontend.views.video import limits
from frontend.views.video.decoder import Clip, ClipError, Picture, upright
from frontend.views.video.preview import Preview
from frontend.views.video.protocol import End, Frame, Message, Trouble, packed

_EARLY = 1e-3  # s that a frame may come before it is due


def main() -> None:
    """Read the clip that is the input."""
    rate, preview = float(sys.argv[1]), os.fdopen(int(sys.argv[2]), "w+b")
    stopped: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _: stopped.append(number))
    with os.fdopen(os.dup(0), "rb") as clip, os.fdopen(os.dup(1), "wb") as out:

        def tell(message: Message) -> None:
            out.write(packed(message))
            out.flush()

        confine()
        tell(read(clip, preview, rate, tell, lambda: bool(stopped)))


def confine() -> None:
    """Take away from this process whatever reading a clip does not need."""
    Image.preinit()  # while files can still be opened, modules are among them
    for module in pkgutil.walk_packages(av.__path__, "av."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    for what, most in (
        (resource.RLIMIT_AS, limits.MEMORY),
        (resource.RLIMIT_CPU, limits.CPU_SECONDS + 10),
        (resource.RLIMIT_FSIZE, limits.PREVIEW_BYTES),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_NOFILE, 0),  # those that are open stay open
    ):
        _, allowed = resource.getrlimit(what)
        least = most if allowed == resource.RLIM_INFINITY else min(most, allowed)
        with suppress(ValueError):  # macOS has no limit of the address space
            resource.setrlimit(what, (least, least))


def read(
    file: BinaryIO,
    preview: BinaryIO,
    rate: float,
    tell: Callable[[Message], None],
    is_stopped: Callable[[], bool],
) -> End:
    """Tell of the clip and of `rate` frames per second of it; return how that ended."""
    try:
        clip = Clip(file)
        tell(clip.info)
    except ClipError as error:
        return End(trouble=error.trouble)
    except MemoryError:
        return End(trouble="memory")
    return _read(clip, None if clip.info.plays else _Copy(preview), rate, tell, is_stopped)


def _read(
    clip: Clip,
    copy: "_Copy | None",
    rate: float,
    tell: Callable[[Message], None],
    is_stopped: Callable[[], bool],
) -> End:
    told = 0
    due = 0.0
    cut = False
    trouble: Trouble | None = None
    seconds = 0.0
    try:
        for picture in clip:
            cut = picture.time > limits.SECONDS or told == limits.FRAMES
            if time.process_time() > limits.CPU_SECONDS:
                trouble = "slow"
            if cut or trouble or is_stopped():
                break
            seconds = clip.end
            if copy:
                copy.add(picture)
            if picture.time >= due - _EARLY:
                tell(_sent(picture))
                told += 1
                due = (int((picture.time + _EARLY) * rate) + 1) / rate
        else:
            trouble = _missing(clip, told)
    except ClipError as error:
        trouble = error.trouble
    except MemoryError:
        trouble = "memory"
    return End(
        seconds=min(seconds, limits.SECONDS),
        trouble=trouble,
        cut=cut,
        preview=copy.container if copy and copy.close(seconds) else None,
    )


def _missing(clip: Clip, told: int) -> Trouble | None:
    """Say what was not there though the clip came to its end."""
    if not told:
        return "damaged" if clip.damaged else "empty"
    promised = max(clip.info.seconds or 0.0, clip.promised or 0.0)
    if clip.end < 0.9 * promised - 0.5:
        return "short"
    return "damaged" if clip.damaged else None


def _sent(picture: Picture) -> Frame:
    image = upright(picture.frame, limits.SENT_SIDE)
    small = image.copy()
    small.thumbnail((limits.THUMBNAIL_SIDE, limits.THUMBNAIL_SIDE))
    return Frame(picture.time, _jpeg(image, 92), _jpeg(small, 80))


def _jpeg(image: Image.Image, quality: int) -> bytes:
    out = io.BytesIO()
    image.save(out, "JPEG", quality=quality)
    return out.getvalue()


class _Copy:
    """A preview that fails alone: the frames are told all the same."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._preview: Preview | None = Preview(file)
        self.container = self._preview.container

    def add(self, picture: Picture) -> None:
        if self._preview is not None:
            try:
                self._preview.add(picture)
            except (av.error.FFmpegError, OSError):
                self._preview = None

    def close(self, end: float) -> bool:
        """Tell whether there is something to play."""
        if self._preview is None:
            return False
        try:
            self._preview.close(end)
            self._file.flush()
        except (av.error.FFmpegError, OSError):
            return False
        return os.fstat(self._file.fileno()).st_size > 0


if __name__ == "__main__":
    main()
