"""Clips on disk: uploads, copies of them, and an example made of the example images."""

import io
import shutil
import weakref
from pathlib import Path
from tempfile import mkdtemp
from typing import Final

from PIL import Image, ImageOps

from frontend import examples
from frontend.state import memory

EXAMPLE_NAME: Final = "Example.mp4"
_EXAMPLE_SIZE: Final = (320, 320)
_EXAMPLE_RATE: Final = 10  # frames per second
_FRAMES_PER_IMAGE: Final = 20
_ROTATION: Final = 24  # degrees that an image turns while it is shown


class ClipSource:
    """A clip in a folder of its own, which is removed on close or garbage collection."""

    def __init__(self, name: str) -> None:
        self.name = name
        folder = Path(mkdtemp(prefix="clip-"))
        self.clip: Final = folder / "clip"
        self.preview: Final = folder / "preview"
        self.close: Final = weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)

    @classmethod
    def create(cls, name: str, content: bytes | memoryview) -> "ClipSource":
        """Write the content of a file to disk; raise OSError, and leave no file, if that fails."""
        source = cls(name)
        try:
            memory.require_free(len(content))
            source.clip.write_bytes(content)
        except OSError:
            source.close()
            raise
        return source

    def copy(self) -> "ClipSource":
        """Return the same clip in another folder, to be classified again; raise OSError."""
        source = ClipSource(self.name)
        try:
            source.clip.hardlink_to(self.clip)
        except OSError:
            source.close()
            raise
        return source


def create_example(kind: str) -> bytes:
    """Return an MP4 of the examples for models of input `kind`, two seconds of each, rotating."""
    import av  # lazily: uploaded clips are decoded in the worker only
    from av.video.frame import VideoFrame

    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as output:
        stream = output.add_stream("libx264", rate=_EXAMPLE_RATE)
        stream.width, stream.height, stream.pix_fmt = *_EXAMPLE_SIZE, "yuv420p"
        for example in examples.load(kind):
            with Image.open(io.BytesIO(example.content)) as opened:
                image = opened.convert("RGB")
            background = image.getpixel((0, 0))
            assert isinstance(background, tuple)  # noqa: S101 (RGB)
            if kind == "digit":  # the whole digit has to be visible
                image = ImageOps.pad(image, _EXAMPLE_SIZE, color=background)
            else:
                image = ImageOps.fit(image, _EXAMPLE_SIZE)
            for number in range(_FRAMES_PER_IMAGE):
                angle = _ROTATION * (0.5 - number / _FRAMES_PER_IMAGE)
                rotated = image.rotate(angle, Image.Resampling.BICUBIC, fillcolor=background)
                frame = VideoFrame.from_image(rotated)  # type: ignore[no-untyped-call]
                output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    return file.getvalue()
