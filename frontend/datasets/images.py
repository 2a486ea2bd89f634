"""A picture someone chose, and a small safe copy of it to show."""

import hashlib
from dataclasses import dataclass
from functools import cached_property
from io import BytesIO

from PIL import Image, ImageOps

from evaluation.thumbnails import eight_bits

MOST_PIXELS = 50_000_000
SIDE = 480
BACKDROP = (156, 163, 175)  # a middle grey, on which transparent ink of any colour can be seen


@dataclass(frozen=True)
class Picture:
    """The bytes of an image file, whatever they are, and the name its owner gave it.

    `fault` says why there are none, as of a file that is damaged within its zip.
    """

    name: str
    content: bytes
    fault: str | None = None

    @cached_property
    def digest(self) -> str:
        """Return what tells one content from another."""
        return hashlib.sha256(self.content + (self.fault or "").encode()).hexdigest()

    @cached_property
    def preview(self) -> bytes | None:
        """Return a PNG of at most SIDE x SIDE, upright, or None where there is nothing to see."""
        try:
            return _preview(self.content)
        except Exception:  # Pillow raises a dozen kinds; without a preview the answer still shows
            return None


def _preview(content: bytes) -> bytes | None:
    with Image.open(BytesIO(content)) as image:
        if image.width * image.height > MOST_PIXELS:
            return None
        image.draft("RGB", (SIDE, SIDE))
        small: Image.Image = eight_bits(image)
        small.thumbnail((SIDE, SIDE))
        small = ImageOps.exif_transpose(small)
        if small.has_transparency_data:
            small = small.convert("RGBA")
            backdrop = Image.new("RGBA", small.size, BACKDROP)
            small = Image.alpha_composite(backdrop, small)
        out = BytesIO()
        small.convert("RGB").save(out, "PNG")
        return out.getvalue()
