"""Decode the frames of a clip, with rotation and times. Runs in the worker only."""

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
from frontend.views.video.protocol import ClipInfo, ErrorCode

_PLAYABLE_CODECS = {"mov": {"h264"}, "matroska": {"vp8", "vp9", "libvpx", "libvpx-vp9"}}
_PLAYABLE_AUDIO = {"aac", "mp3", "mp3float", "opus", "vorbis"}
_DEFAULT_DURATION = 0.04  # s of a frame if the clip states neither duration nor rate


class ClipError(Exception):
    """The clip cannot be decoded; `code` is the reason."""

    def __init__(self, code: ErrorCode) -> None:
        super().__init__(code)
        self.code: ErrorCode = code


@dataclass(frozen=True, slots=True)
class DecodedFrame:
    """A decoded frame and its time in seconds of the player's clock."""

    frame: VideoFrame
    time: float


class Clip:
    """The first video stream of a file. Raises ClipError if none can be decoded."""

    def __init__(self, file: BinaryIO) -> None:
        self._container = _open(file)
        self._stream = _video_stream(self._container)
        codec = self._stream.codec_context
        if codec is None or codec.name not in limits.CODECS:
            raise ClipError("codec")
        if codec.width * codec.height > limits.MAX_PIXELS:
            raise ClipError("pixels")
        self._stream.thread_type = "AUTO"
        codec.thread_count = 2
        self.end = 0.0  # of the last frame, in seconds
        self.is_damaged = False
        self.expected_seconds = _expected_seconds(self._container, self._stream)
        seconds = self._container.duration
        self.info = ClipInfo(
            codec=codec.name,
            width=codec.width,
            height=codec.height,
            seconds=seconds / av.time_base if seconds and seconds > 0 else None,
            is_playable=_is_playable(
                self._container, self._stream, os.fstat(file.fileno()).st_size
            ),
        )

    def __iter__(self) -> Iterator[DecodedFrame]:
        """Yield the frames in order of time; skip damaged ones."""
        origin: float | None = None
        if self.info.is_playable:
            origin = (self._container.start_time or 0) / av.time_base
        step = _frame_interval(self._stream)
        for frame in self._frames():
            if frame.width * frame.height > limits.MAX_PIXELS:
                raise ClipError("pixels")
            at = frame.time
            if origin is None:
                origin = at or 0.0
            time = self.end if at is None else float(at - origin)
            if time < self.end - step:  # the clock jumped back
                continue
            time = max(time, 0.0)
            self.end = min(
                time + (_duration(frame) or step), max(self.info.seconds or 0, time + step)
            )
            yield DecodedFrame(frame, time)

    def _frames(self) -> Iterator[VideoFrame]:
        packets = self._container.demux(self._stream)
        while True:
            try:
                packet = next(packets, None)
            except av.error.MemoryError:
                raise
            except av.error.FFmpegError:
                self.is_damaged = True
                packet = None
            if packet is None:
                return
            try:
                yield from self._stream.decode(packet)
            except av.error.MemoryError:
                raise
            except av.error.FFmpegError:
                self.is_damaged = True


def to_upright(frame: VideoFrame, side: int) -> Image.Image:
    """Return a frame as an upright RGB image of at most `side` x `side` pixels."""
    width, height = fit_size(frame, side)
    small = frame.reformat(width, height, format="rgb24", interpolation="AREA")
    image: Image.Image = small.to_image()  # type: ignore[no-untyped-call]
    return image.rotate(frame.rotation, expand=True) if frame.rotation else image


def fit_size(frame: VideoFrame, side: int) -> tuple[int, int]:
    """Return (width, height) within `side`, before rotation, for square pixels."""
    aspect = frame.sample_aspect_ratio if hasattr(frame, "sample_aspect_ratio") else None
    width = float(frame.width * (aspect or 1))
    scale = min(1.0, side / max(width, frame.height))
    return max(1, round(width * scale)), max(1, round(frame.height * scale))


def _open(file: BinaryIO) -> InputContainer:
    containers = ",".join(limits.CONTAINERS)
    options = {
        "protocol_whitelist": "none",
        "format_whitelist": containers,
        "codec_whitelist": ",".join(sorted(limits.CODECS)),
        "max_pixels": str(limits.MAX_PIXELS),
    }
    try:
        return av.open(file, "r", options=options, metadata_errors="ignore")
    except av.error.MemoryError:
        raise
    except (av.error.FFmpegError, ValueError) as error:
        raise ClipError("unreadable") from error


def _video_stream(container: InputContainer) -> VideoStream:
    for stream in container.streams.video:
        if not stream.disposition & Disposition.attached_pic:
            return stream
    raise ClipError("no_video")


def _is_playable(container: InputContainer, stream: VideoStream, size: int) -> bool:
    """Return whether every browser plays the file itself, with the same clock as ours."""
    codecs = _PLAYABLE_CODECS.get(container.format.name.split(",")[0], set())
    audio = {track.codec_context.name for track in container.streams.audio if track.codec_context}
    return (
        size <= limits.MAX_PLAYED_BYTES
        and stream.codec_context.name in codecs
        and stream.codec_context.pix_fmt in ("yuv420p", "yuvj420p")
        and audio <= _PLAYABLE_AUDIO
        and bool(container.duration)
        and abs(container.start_time or 0) < 0.05 * av.time_base
    )


def _frame_interval(stream: VideoStream) -> float:
    rate = stream.average_rate or stream.guessed_rate
    return float(1 / Fraction(rate)) if rate and rate >= 1 else _DEFAULT_DURATION


def _expected_seconds(container: InputContainer, stream: VideoStream) -> float | None:
    """Return the length by the header's frame count, for containers where it reveals truncation.

    FFmpeg computes the duration of a truncated AVI file from the remaining data. Frame counts of
    other containers are not used: that of MP4 includes frames that are not displayed.
    """
    if container.format.name != "avi":
        return None
    return stream.frames * _frame_interval(stream)


def _duration(frame: VideoFrame) -> float | None:
    return float(frame.duration * frame.time_base) if frame.duration and frame.time_base else None
