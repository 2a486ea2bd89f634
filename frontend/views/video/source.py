"""A clip to try, made of the example pictures."""

import io
from typing import Final

from PIL import Image, ImageOps

from frontend import examples

NAME: Final = "Example.mp4"
_SIZE: Final = (320, 320)
_RATE: Final = 10  # frames per second
_EACH: Final = 20  # frames of one picture
_TURN: Final = 24  # degrees that a picture turns in that time


def clip(kind: str) -> bytes:
    """Return an MP4 of the examples for models of `kind`, each for two seconds, slowly turning."""
    import av  # only here: clips that people send are read in a process of their own
    from av.video.frame import VideoFrame

    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as out:
        stream = out.add_stream("libx264", rate=_RATE)
        stream.width, stream.height, stream.pix_fmt = *_SIZE, "yuv420p"
        for example in examples.load(kind):
            with Image.open(io.BytesIO(example.content)) as image:
                picture = image.convert("RGB")
            paper = picture.getpixel((0, 0))
            assert isinstance(paper, tuple)  # noqa: S101 (RGB)
            if kind == "digit":  # all of it has to be seen
                picture = ImageOps.pad(picture, _SIZE, color=paper)
            else:
                picture = ImageOps.fit(picture, _SIZE)
            for number in range(_EACH):
                turned = picture.rotate(
                    _TURN * (0.5 - number / _EACH), Image.Resampling.BICUBIC, fillcolor=paper
                )
                out.mux(stream.encode(VideoFrame.from_image(turned)))  # type: ignore[no-untyped-call]
        out.mux(stream.encode(None))
    return file.getvalue()
