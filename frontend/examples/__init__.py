"""The pictures to click on the Classify page.

`draw.py` draws the digits. The photographs are of scikit-image's package data, made smaller: a cat
(Stéfan van der Walt, CC0), a cup of coffee (Rachel Michetti, CC0) and a rocket (SpaceX, public
domain).
"""

from dataclasses import dataclass
from functools import cache
from pathlib import Path

HERE = Path(__file__).parent

_DIGITS = {
    "three.png": "A 3 in black ink on white",
    "seven.png": "A 7 in white chalk on black",
    "five.png": "A 5 in pencil on grey paper",
    "two.png": "A 2 in blue ballpoint on cream paper",
    "four.png": "A small 4 in a corner",
    "eight.png": "An 8 in thick red felt pen",
}
_PHOTOS = {
    "cat.jpg": "A cat that looks at you",
    "coffee.jpg": "A cup of coffee",
    "rocket.jpg": "A rocket before its start",
}


@dataclass(frozen=True, slots=True)
class Example:
    """A picture to try, PNG or JPEG, and what a person sees in it."""

    name: str
    says: str
    content: bytes

    @property
    def media_type(self) -> str:
        """What a browser calls its format."""
        return "image/png" if self.name.endswith(".png") else "image/jpeg"


@cache
def load(kind: str) -> tuple[Example, ...]:
    """Return the examples for models whose input is of `kind`, in the order of showing."""
    return tuple(
        Example(name=name, says=says, content=(HERE / name).read_bytes())
        for name, says in (_DIGITS if kind == "digit" else _PHOTOS).items()
    )
