"""Example images for the Classify page.

`make_examples.py` draws the digits. The photos are from the package data of scikit-image, resized:
a cat (Stéfan van der Walt, CC0), a cup of coffee (Rachel Michetti, CC0) and a rocket (SpaceX,
public domain). Only the benchmarks use the rocket: ImageNet has no class for it.

`digits.zip` is the example dataset of the Evaluate and Compare pages, drawn by
`training/data/example_dataset.py`.
"""

from dataclasses import dataclass
from functools import cache
from pathlib import Path

FOLDER = Path(__file__).parent

_DIGITS = {
    "three.png": "A 3 in black ink on white",
    "seven.png": "A 7 in white chalk on black",
    "five.png": "A 5 in pencil on gray paper",
    "two.png": "A 2 in blue ballpoint on cream paper",
    "four.png": "A small 4 in a corner",
    "eight.png": "An 8 in thick red felt pen",
}
_PHOTOS = {
    "cat.jpg": "A cat facing the camera",
    "coffee.jpg": "A cup of coffee",
}


_MIXED = ("cat.jpg", "seven.png", "coffee.jpg", "three.png", "two.png", "eight.png")


@dataclass(frozen=True, slots=True)
class Example:
    """An example image, PNG or JPEG, and a description of it."""

    name: str
    description: str
    content: bytes

    @property
    def media_type(self) -> str:
        """The MIME type."""
        return "image/png" if self.name.endswith(".png") else "image/jpeg"


@cache
def load(kind: str) -> tuple[Example, ...]:
    """Return the examples for models with this input `kind`, in display order.

    Any kind other than "digit" and "image" gets both digits and photos.
    """
    every = _DIGITS | _PHOTOS
    names = {"digit": tuple(_DIGITS), "image": tuple(_PHOTOS)}.get(kind, _MIXED)
    return tuple(Example(name, every[name], (FOLDER / name).read_bytes()) for name in names)
