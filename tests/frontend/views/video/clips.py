"""Create clips for tests."""

import io
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from fractions import Fraction
from typing import cast

import av
import numpy as np
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.video.frame import VideoFrame
from av.video.stream import VideoStream
from PIL import Image

from tests.images import noise, seven

IDENTITY = (0x10000, 0, 0, 0, 0x10000, 0, 0, 0, 0x40000000)
QUARTER_ROTATION = (0, 0x10000, 0, -0x10000, 0, 0, 0, 0, 0x40000000)  # displayed rotated right


def sevens_then_noise(size: int = 128) -> list[Image.Image]:
    """Return two seconds of a 7 and two of noise, at ten frames per second."""
    return [seven(size)] * 20 + [noise(size, size)] * 20


@contextmanager
def _normal_priority() -> Iterator[None]:
    """Undo what libsvtav1 does as root: real-time priority, inherited by later processes."""
    try:
        yield
    finally:
        if hasattr(os, "sched_setscheduler"):
            os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))


def clip(
    images: Sequence[Image.Image],
    *,
    codec: str = "libx264",
    container: str = "mp4",
    rate: int = 10,
    times: Iterable[float] | None = None,
    start: float = 0.0,
    pixels: str = "yuv420p",
    audio: str | None = None,
    options: Mapping[str, str] | None = None,
) -> bytes:
    """Return a clip of the images, at a constant rate or at `times`, `start` seconds late.

    `options` are passed to the container.
    """
    file = io.BytesIO()
    with (
        _normal_priority(),
        av.open(file, "w", format=container, options=dict(options or {})) as out,
    ):
        video = cast(
            VideoStream, out.add_stream(codec, rate=rate, options={"bf": "0"} if times else {})
        )
        video.width, video.height = images[0].size
        video.pix_fmt = pixels
        clock = Fraction(1, rate) if times is None and not start else Fraction(1, 1000)
        video.codec_context.time_base = clock
        track = cast(AudioStream, out.add_stream(audio, rate=16000)) if audio else None
        for number, time in enumerate(times or (n / rate for n in range(len(images)))):
            frame = VideoFrame.from_image(images[number])  # type: ignore[no-untyped-call]
            frame.pts = round((time + start) / clock)
            frame.time_base = clock
            out.mux(video.encode(frame))
        out.mux(video.encode(None))
        if track is not None:
            for n in range(max(1, 16 * len(images) // rate)):
                silence = AudioFrame.from_ndarray(
                    np.zeros((1, 1000), np.float32), format="fltp", layout="mono"
                )
                silence.sample_rate, silence.pts = 16000, 1000 * n
                out.mux(track.encode(silence))
            out.mux(track.encode(None))
    return file.getvalue()


def audio_only() -> bytes:
    """Return an MP4 file with a second of silence and no video."""
    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as out:
        audio = out.add_stream("aac", rate=16000)
        silence = AudioFrame.from_ndarray(
            np.zeros((1, 16000), np.float32), format="fltp", layout="mono"
        )
        silence.sample_rate = 16000
        out.mux(audio.encode(silence))
        out.mux(audio.encode(None))
    return file.getvalue()


def rotated(content: bytes) -> bytes:
    """Return the MP4 file with a display matrix that rotates it right by 90 degrees."""
    before, after = (
        b"".join(number.to_bytes(4, "big", signed=True) for number in matrix)
        for matrix in (IDENTITY, QUARTER_ROTATION)
    )
    head, track, tail = content.partition(b"tkhd")
    assert before in tail
    return head + track + tail.replace(before, after, 1)
