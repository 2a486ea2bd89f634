"""The pictures to click on the Classify page; `draw.py` draws them."""

from dataclasses import dataclass
from functools import cache
from pathlib import Path

HERE = Path(__file__).parent

_SAYS = {
    "three": "A 3 in black ink on white",
    "seven": "A 7 in white chalk on black",
    "five": "A 5 in pencil on grey paper",
    "two": "A 2 in blue ballpoint on cream paper",
    "four": "A small 4 in a corner",
    "eight": "An 8 in thick red felt pen",
}


@dataclass(frozen=True, slots=True)
class Example:
    """A PNG to try, and what a person sees in it."""

    name: str
    says: str
    png: bytes


@cache
def load() -> tuple[Example, ...]:
    """Return the examples in the order in which they are shown."""
    return tuple(
        Example(name=f"{stem}.png", says=says, png=(HERE / f"{stem}.png").read_bytes())
        for stem, says in _SAYS.items()
    )
