"""What the pages are shown with: labelled digits and a clip, drawn by the pen of the training."""

import io
import zipfile

import av
import numpy as np
from PIL import Image, ImageOps

from training.data.synthetic_handwriting import draw_digit

SECONDS = 8
SIDE = 320  # pixels of the clip


def digits_zip(count: int) -> bytes:
    """Return a zip of class folders with `count` digits, small and on noisy paper."""
    rng = np.random.default_rng(7)
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for number in range(count):
            label = number % 10
            archive.writestr(f"digits/{label}/{number:04}.png", _png(_on_paper(label, rng)))
    return out.getvalue()


def digit(label: int) -> bytes:
    """Return one digit as a PNG."""
    return _png(ImageOps.invert(draw_digit(label, np.random.default_rng(label + 40))))


def clip() -> bytes:
    """Return an MP4 in which one digit follows the other."""
    rng = np.random.default_rng(3)
    out = io.BytesIO()
    with av.open(out, "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=10)
        stream.width = stream.height = SIDE
        stream.pix_fmt = "yuv420p"
        for second in range(SECONDS):
            image = ImageOps.invert(draw_digit(second, rng)).resize((SIDE, SIDE)).convert("RGB")
            for _ in range(10):
                container.mux(stream.encode(av.VideoFrame.from_image(image)))
        container.mux(stream.encode())
    return out.getvalue()


def _on_paper(label: int, rng: np.random.Generator) -> Image.Image:
    """A digit that is not easy: blurred by a small scan, on grey paper with grain."""
    small = ImageOps.invert(draw_digit(label, rng)).resize((20, 20)).resize((56, 56))
    grain = rng.normal(0, 22, (56, 56))
    return Image.fromarray((np.asarray(small) * 0.8 + grain + 20).clip(0, 255).astype(np.uint8))


def _png(image: Image.Image) -> bytes:
    out = io.BytesIO()
    image.save(out, "PNG")
    return out.getvalue()
