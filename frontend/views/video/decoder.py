"""The frames of a clip, upright and with their times. Runs in the worker only."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import BinaryIO

import av
from av.container import InputContainer
from av.stream import Disposition
from av.video.frame import VideoFrame
from av.video.stream import VideoStream
from PIL import Image

from frontend.views.video import limits
from frontend.views.video.protocol import Info, Trouble

_PLAYED_CONTAINERS = {"mov": {"h264"}, "matroska": {"vp8", "vp9", "libvpx", "libvpx-vp9"}}
_PLAYED_SOUND = {"aac", "mp3", "mp3float", "opus", "vorbis"}
_STILL = 0.04  # s that a frame lasts where nothing says how long


class ClipError(Exception):
    """The clip cannot be read, for a reason that has a name."""

    def __init__(self, trouble: Trouble) -> None:
        super().__init__(trouble)
        self.trouble: Trouble = trouble


@dataclass(frozen=True, slots=True)
class Picture:
    """A frame as it was decoded, and its time in seconds of the player's clock."""

    frame: VideoFrame
    time: float


class Clip:
    """The first moving picture in a file. Raises ClipError where there is none to be read."""

    def __init__(self, file: BinaryIO) -> None:
        self._container = _opened(file)
        self._stream = _moving(self._container)
        codec = self._stream.codec_context
        if codec is None or codec.name not in limits.CODECS:
            raise ClipError("codec")
        if codec.width * codec.height > limits.PIXELS:
            raise ClipError("pixels")
        self._stream.thread_type = "AUTO"
        codec.thread_count = 2
        self.end = 0.0  # of the last frame, in seconds
        self.damaged = False
        self.promised = _promised(self._container, self._stream)
        seconds = self._container.duration
        self.info = Info(
            codec=codec.name,
            width=codec.width,
            height=codec.height,
            seconds=seconds / av.time_base if seconds and seconds > 0 else None,
            plays=_plays(self._container, self._stream, os.fstat(file.fileno()).st_size),
        )

    def __iter__(self) -> Iterator[Picture]:
        """Yield the frames in the order of their times; what is damaged is passed over."""
        origin: float | None = None
        if self.info.plays:
            origin = (self._container.start_time or 0) / av.time_base
        step = _step(self._stream)
        for frame in self._frames():
            if frame.width * frame.height > limits.PIXELS:
                raise ClipError("pixels")
            at = frame.time
            if origin is None:
                origin = at or 0.0
            time = self.end if at is None else float(at - origin)
            if time < self.end - step:  # clocks that jump back
                continue
            time = max(time, 0.0)
            self.end = min(time + (_lasts(frame) or step), max(self.info.seconds or 0, time + step))
            yield Picture(frame, time)

    def _frames(self) -> Iterator[VideoFrame]:
        packets = self._container.demux(self._stream)
        while True:
            try:
                packet = next(packets, None)
            except av.error.MemoryError:
                raise
            except av.error.FFmpegError:
                self.damaged = True
                packet = None
            if packet is None:
                return
            try:
                yield from self._stream.decode(packet)
            except av.error.MemoryError:
                raise
            except av.error.FFmpegError:
                self.damaged = True


def upright(frame: VideoFrame, side: int) -> Image.Image:
    """Return a frame as an RGB picture of at most `side` x `side`, as it is meant to be seen."""
    width, height = fitted(frame, side)
    small = frame.reformat(width, height, format="rgb24", interpolation="AREA")
    image: Image.Image = small.to_image()  # type: ignore[no-untyped-call]
    return image.rotate(frame.rotation, expand=True) if frame.rotation else image


def fitted(frame: VideoFrame, side: int) -> tuple[int, int]:
    """Return width and height, not yet rotated, with square pixels and within `side`."""
    aspect = frame.sample_aspect_ratio if hasattr(frame, "sample_aspect_ratio") else None
    wide = float(frame.width * (aspect or 1))
    scale = min(1.0, side / max(wide, frame.height))
    return max(1, round(wide * scale)), max(1, round(frame.height * scale))


def _opened(file: BinaryIO) -> InputContainer:
    containers = ",".join(limits.CONTAINERS)
    options = {
        "protocol_whitelist": "none",
        "format_whitelist": containers,
        "codec_whitelist": ",".join(sorted(limits.CODECS)),
        "max_pixels": str(limits.PIXELS),
    }
    try:
        return av.open(file, "r", options=options, metadata_errors="ignore")
    except av.error.MemoryError:
        raise
    except (av.error.FFmpegError, ValueError) as error:
        raise ClipError("unreadable") from error


def _moving(container: InputContainer) -> VideoStream:
    for stream in container.streams.video:
        if not stream.disposition & Disposition.attached_pic:
            return stream
    raise ClipError("no_video")


def _plays(container: InputContainer, stream: VideoStream, size: int) -> bool:
    """Tell whether every browser plays the file itself, on the clock that we count by."""
    played = _PLAYED_CONTAINERS.get(container.format.name.split(",")[0], set())
    sounds = {sound.codec_context.name for sound in container.streams.audio if sound.codec_context}
    return (
        size <= limits.PLAYED_BYTES
        and stream.codec_context.name in played
        and stream.codec_context.pix_fmt in ("yuv420p", "yuvj420p")
        and sounds <= _PLAYED_SOUND
        and bool(container.duration)
        and abs(container.start_time or 0) < 0.05 * av.time_base
    )


def _step(stream: VideoStream) -> float:
    rate = stream.average_rate or stream.guessed_rate
    return float(1 / Fraction(rate)) if rate and rate >= 1 else _STILL


def _promised(container: InputContainer, stream: VideoStream) -> float | None:
    """Return how many seconds of pictures the head counts, where only that tells of a lost end.

    Of an AVI file that was cut off the duration is what is left. Others' counts are not compared:
    that of MP4 has frames that are meant not to be seen.
    """
    return stream.frames * _step(stream) if container.format.name == "avi" else None


def _lasts(frame: VideoFrame) -> float | None:
    return float(frame.duration * frame.time_base) if frame.duration and frame.time_base else None
