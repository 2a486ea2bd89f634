"""What goes into the cells of a table that a spreadsheet may open. No Streamlit in here."""

import re
from typing import Final

_FORMULA: Final = re.compile(r"'*[=+\-@\t\r]")  # how a cell begins that spreadsheets calculate


def harmless(text: str) -> str:
    """Return a text with an apostrophe before it where a spreadsheet would calculate it."""
    return f"'{text}" if _FORMULA.match(text) else text
