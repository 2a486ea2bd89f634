"""Sample data for the screenshots: synthetic handwritten digits as images, a zip and a video."""

import io
import zipfile

import av
import numpy as np
from PIL import Image, ImageOps

from training.data.synthetic_handwriting import draw_digit

VIDEO_SECONDS = 8
VIDEO_SIDE = 320  # px


def digits_zip(count: int) -> bytes:
    """Return a zip of class folders with `count` small and noisy digits."""
    rng = np.random.default_rng(7)
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for number in range(count):
            label = number % 10
            archive.writestr(
                f"digits/{label}/{number:04}.png", _encode_png(_degraded_digit(label, rng))
            )
    return out.getvalue()


def digit_png(label: int) -> bytes:
    """Return an image of the digit."""
    return _encode_png(ImageOps.invert(draw_digit(label, np.random.default_rng(label + 40))))


def video() -> bytes:
    """Return an MP4 that shows one digit per second."""
    rng = np.random.default_rng(3)
    out = io.BytesIO()
    with av.open(out, "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=10)
        stream.width = stream.height = VIDEO_SIDE
        stream.pix_fmt = "yuv420p"
        for second in range(VIDEO_SECONDS):
            image = (
                ImageOps.invert(draw_digit(second, rng))
                .resize((VIDEO_SIDE, VIDEO_SIDE))
                .convert("RGB")
            )
            for _ in range(10):
                container.mux(stream.encode(av.VideoFrame.from_image(image)))
        container.mux(stream.encode())
    return out.getvalue()


def _degraded_digit(label: int, rng: np.random.Generator) -> Image.Image:
    """Return a digit that is hard to recognize: low resolution, gray and noisy."""
    small = ImageOps.invert(draw_digit(label, rng)).resize((20, 20)).resize((56, 56))
    noise = rng.normal(0, 22, (56, 56))
    return Image.fromarray((np.asarray(small) * 0.8 + noise + 20).clip(0, 255).astype(np.uint8))


def _encode_png(image: Image.Image) -> bytes:
    out = io.BytesIO()
    image.save(out, "PNG")
    return out.getvalue()
