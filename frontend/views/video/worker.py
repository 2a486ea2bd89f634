"""Decode a clip in a sandbox: `python -m frontend.views.video.worker RATE PREVIEW_FD <clip`.

The worker reads the clip from its standard input, writes messages (`frontend.views.video.protocol`)
to its standard output, and, if browsers cannot play the clip, writes a preview to the file
descriptor PREVIEW_FD. It restricts itself before it reads the clip: from then on it can open
neither files nor connections. On SIGTERM it ends early and completes the preview.
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
from pathlib import Path
from typing import BinaryIO

import av
from PIL import Image

from frontend.views.video import limits
from frontend.views.video.decoder import Clip, ClipError, DecodedFrame, to_upright
from frontend.views.video.preview import Preview
from frontend.views.video.protocol import End, ErrorCode, Frame, Message, encode_message

_TOLERANCE = 1e-3  # s by which a frame may precede its sampling time


def main() -> None:
    """Decode the clip on the standard input."""
    rate, preview = float(sys.argv[1]), os.fdopen(int(sys.argv[2]), "w+b")
    signals: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _: signals.append(number))
    with os.fdopen(os.dup(0), "rb") as clip, os.fdopen(os.dup(1), "wb") as out:

        def send(message: Message) -> None:
            out.write(encode_message(message))
            out.flush()

        confine()
        send(decode(clip, preview, rate, send, lambda: bool(signals)))


def prefer_for_oom_kill() -> None:
    """Let the kernel end this process, and not the page, if the container's memory is used up."""
    with suppress(OSError):  # not Linux
        Path("/proc/self/oom_score_adj").write_text("1000", encoding="ascii")


def confine() -> None:
    """Limit memory, CPU time and file size of this process, and forbid it to open anything."""
    prefer_for_oom_kill()
    Image.preinit()  # imports modules, which must be opened before the limits apply
    for module in pkgutil.walk_packages(av.__path__, "av."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    for limit, wanted in (
        (resource.RLIMIT_AS, limits.WORKER_MEMORY_BYTES),
        (resource.RLIMIT_CPU, limits.WORKER_CPU_SECONDS + 10),
        (resource.RLIMIT_FSIZE, limits.MAX_PREVIEW_BYTES),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_NOFILE, 0),  # descriptors that are open stay open
    ):
        _, hard = resource.getrlimit(limit)
        value = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        with suppress(ValueError):  # macOS has no limit of the address space
            resource.setrlimit(limit, (value, value))


def decode(
    file: BinaryIO,
    preview_file: BinaryIO,
    rate: float,
    send: Callable[[Message], None],
    is_stopped: Callable[[], bool],
) -> End:
    """Send the clip's header and `rate` frames per second, and return the last message."""
    try:
        clip = Clip(file)
        send(clip.info)
    except ClipError as error:
        return End(error=error.code)
    except MemoryError:
        return End(error="memory")
    preview = None if clip.info.is_playable else Preview(preview_file)
    return _decode_frames(clip, preview, rate, send, is_stopped)


def _decode_frames(
    clip: Clip,
    preview: Preview | None,
    rate: float,
    send: Callable[[Message], None],
    is_stopped: Callable[[], bool],
) -> End:
    sent = 0
    next_time = 0.0
    is_truncated = False
    code: ErrorCode | None = None
    seconds = 0.0
    try:
        for decoded in clip:
            is_truncated = decoded.time > limits.MAX_SECONDS or sent == limits.MAX_FRAMES
            if time.process_time() > limits.WORKER_CPU_SECONDS:
                code = "slow"
            if is_truncated or code or is_stopped():
                break
            seconds = clip.end
            if preview:
                preview.add(decoded)
            if decoded.time >= next_time - _TOLERANCE:
                send(_to_message(decoded))
                sent += 1
                next_time = (int((decoded.time + _TOLERANCE) * rate) + 1) / rate
        else:
            code = _check_complete(clip, sent)
    except ClipError as error:
        code = error.code
    except MemoryError:
        code = "memory"
    return End(
        seconds=min(seconds, limits.MAX_SECONDS),
        error=code,
        is_truncated=is_truncated,
        preview=preview.container if preview and preview.close(seconds) else None,
    )


def _check_complete(clip: Clip, sent: int) -> ErrorCode | None:
    """Return an error code if frames are missing from a clip that was decoded to its end."""
    if not sent:
        return "damaged" if clip.is_damaged else "empty"
    expected = max(clip.info.seconds or 0.0, clip.expected_seconds or 0.0)
    if clip.end < 0.9 * expected - 0.5:
        return "short"
    return "damaged" if clip.is_damaged else None


def _to_message(decoded: DecodedFrame) -> Frame:
    image = to_upright(decoded.frame, limits.IMAGE_SIDE)
    thumbnail = image.copy()
    thumbnail.thumbnail((limits.THUMBNAIL_SIDE, limits.THUMBNAIL_SIDE))
    return Frame(decoded.time, _to_jpeg(image, 92), _to_jpeg(thumbnail, 80))


def _to_jpeg(image: Image.Image, quality: int) -> bytes:
    out = io.BytesIO()
    image.save(out, "JPEG", quality=quality)
    return out.getvalue()


if __name__ == "__main__":
    main()
