"""A small copy of a clip, for browsers that cannot play the clip itself. Runs in the worker."""

from fractions import Fraction
from typing import BinaryIO, Literal, cast

import av
from av.codec import codecs_available
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from frontend.views.video import limits
from frontend.views.video.decoder import Picture, fitted, upright

_CLOCK = 90_000  # ticks in a second
_ENCODERS: tuple[tuple[str, Literal["mp4", "webm"], dict[str, str]], ...] = (
    # No B frames: the clock then begins at 0 without an edit list.
    ("libx264", "mp4", {"preset": "veryfast", "crf": "26", "bf": "0", "g": "60"}),
    ("libvpx", "webm", {"deadline": "realtime", "cpu-used": "8", "crf": "20", "b": "1M"}),
)


class Preview:
    """Writes a small clip without sound into a file; its clock begins at 0."""

    def __init__(self, file: BinaryIO) -> None:
        self._encoder, self.container, self._options = next(
            one for one in _ENCODERS if one[0] in codecs_available
        )
        self._out = av.open(file, "w", format=self.container)
        self._stream: VideoStream | None = None
        self._due = 0.0
        self._last: VideoFrame | None = None

    def add(self, picture: Picture) -> None:
        """Take a frame, or pass over it where it comes too soon after the last one."""
        ticks = round(picture.time * _CLOCK)
        if picture.time < self._due:
            return
        self._due = picture.time + 0.9 / limits.PREVIEW_RATE
        frame = _small(picture.frame)
        if self._stream is None:
            self._stream = self._begun(frame)
        if (frame.width, frame.height) != (self._stream.width, self._stream.height):
            frame = frame.reformat(self._stream.width, self._stream.height)
        frame.pts = ticks
        frame.time_base = Fraction(1, _CLOCK)
        self._out.mux(self._stream.encode(frame))
        self._last = frame

    def close(self, end: float) -> None:
        """Write what is still to be written; the last frame is seen until `end`, in seconds."""
        if self._stream is not None and self._last is not None:
            last = round((end - 1 / limits.PREVIEW_RATE) * _CLOCK)
            if last > (self._last.pts or 0):
                self._last.pts = last
                self._out.mux(self._stream.encode(self._last))
            self._out.mux(self._stream.encode(None))
        self._out.close()

    def _begun(self, frame: VideoFrame) -> VideoStream:
        stream = cast(
            VideoStream,
            self._out.add_stream(self._encoder, rate=limits.PREVIEW_RATE, options=self._options),
        )
        stream.width, stream.height, stream.pix_fmt = frame.width, frame.height, "yuv420p"
        stream.codec_context.time_base = Fraction(1, _CLOCK)
        stream.codec_context.thread_count = 2
        return stream


def _small(frame: VideoFrame) -> VideoFrame:
    """Return it upright, within PREVIEW_SIDE, of even width and height, as encoders want it."""
    if frame.rotation:
        turned = upright(frame, limits.PREVIEW_SIDE)
        frame = VideoFrame.from_image(turned)  # type: ignore[no-untyped-call]
    width, height = (max(2, length // 2 * 2) for length in fitted(frame, limits.PREVIEW_SIDE))
    small = frame.reformat(width, height, format="yuv420p", interpolation="FAST_BILINEAR")
    small.pict_type = 0  # the encoder chooses its own key frames
    return small
