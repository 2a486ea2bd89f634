"""A reduced copy of a clip that browsers cannot play. Runs in the worker only."""

import os
from fractions import Fraction
from typing import BinaryIO, Literal, cast

import av
from av.codec import codecs_available
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from frontend.views.video import limits
from frontend.views.video.decoder import DecodedFrame, fit_size, to_upright

_TICKS_PER_SECOND = 90_000
_ENCODERS: tuple[tuple[str, Literal["mp4", "webm"], dict[str, str]], ...] = (
    # Without B frames the clock begins at 0 without an edit list.
    ("libx264", "mp4", {"preset": "veryfast", "crf": "26", "bf": "0", "g": "60"}),
    ("libvpx", "webm", {"deadline": "realtime", "cpu-used": "8", "crf": "20", "b": "1M"}),
)


class Preview:
    """Write a small clip without sound into a file; its clock begins at 0.

    Encoding errors end the preview only: `close` then returns false.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._encoder, self.container, self._options = next(
            encoder for encoder in _ENCODERS if encoder[0] in codecs_available
        )
        self._file = file
        self._output = av.open(file, "w", format=self.container)
        self._stream: VideoStream | None = None
        self._next_time = 0.0
        self._last: VideoFrame | None = None
        self._has_failed = False

    def add(self, decoded: DecodedFrame) -> None:
        """Add a frame, unless it follows the last one too closely."""
        if self._has_failed or decoded.time < self._next_time:
            return
        self._next_time = decoded.time + 0.9 / limits.PREVIEW_RATE
        try:
            self._encode(decoded)
        except (av.error.FFmpegError, OSError):
            self._has_failed = True

    def close(self, end: float) -> bool:
        """Extend the last frame to `end` seconds, and return whether there is a clip to play."""
        if self._has_failed:
            return False
        try:
            self._finish(end)
            self._file.flush()
        except (av.error.FFmpegError, OSError):
            return False
        return os.fstat(self._file.fileno()).st_size > 0

    def _encode(self, decoded: DecodedFrame) -> None:
        frame = _reduce(decoded.frame)
        if self._stream is None:
            self._stream = self._add_stream(frame)
        if (frame.width, frame.height) != (self._stream.width, self._stream.height):
            frame = frame.reformat(self._stream.width, self._stream.height)
        frame.pts = round(decoded.time * _TICKS_PER_SECOND)
        frame.time_base = Fraction(1, _TICKS_PER_SECOND)
        self._output.mux(self._stream.encode(frame))
        self._last = frame

    def _finish(self, end: float) -> None:
        if self._stream is not None and self._last is not None:
            last = round((end - 1 / limits.PREVIEW_RATE) * _TICKS_PER_SECOND)
            if last > (self._last.pts or 0):
                self._last.pts = last
                self._output.mux(self._stream.encode(self._last))
            self._output.mux(self._stream.encode(None))
        self._output.close()

    def _add_stream(self, frame: VideoFrame) -> VideoStream:
        stream = cast(
            VideoStream,
            self._output.add_stream(self._encoder, rate=limits.PREVIEW_RATE, options=self._options),
        )
        stream.width, stream.height, stream.pix_fmt = frame.width, frame.height, "yuv420p"
        stream.codec_context.time_base = Fraction(1, _TICKS_PER_SECOND)
        stream.codec_context.thread_count = 2
        return stream


def _reduce(frame: VideoFrame) -> VideoFrame:
    """Return an upright frame within PREVIEW_SIDE, of even width and height for the encoder."""
    if frame.rotation:
        rotated = to_upright(frame, limits.PREVIEW_SIDE)
        frame = VideoFrame.from_image(rotated)  # type: ignore[no-untyped-call]
    width, height = (max(2, length // 2 * 2) for length in fit_size(frame, limits.PREVIEW_SIDE))
    small = frame.reformat(width, height, format="yuv420p", interpolation="FAST_BILINEAR")
    small.pict_type = 0  # the encoder chooses its own key frames
    return small
