"""What goes into the cells of a table that a spreadsheet may open."""

import re
from typing import Final

# A spreadsheet takes a cell that begins so for a formula, and files and classes are named by
# anybody. An apostrophe more is written before it and taken off again when it is read.
_FORMULA: Final = re.compile(r"'*[=+\-@\t\r]")


def harmless(text: str) -> str:
    """Return a text with an apostrophe before it where a spreadsheet would calculate it."""
    return f"'{text}" if _FORMULA.match(text) else text


def as_given(cell: str) -> str:
    """Return the text that `harmless` made a cell of."""
    return cell[1:] if cell.startswith("'") and _FORMULA.match(cell) else cell
