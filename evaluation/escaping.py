"""Escaping of file names and labels from untrusted sources."""

import re
from typing import Final

_UNENCODABLE: Final = re.compile("[\ud800-\udfff]")
# Control characters, line separators, bidirectional marks and what XML forbids.
_UNPRINTABLE: Final = re.compile(
    "[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]"
)
# Spreadsheets evaluate a cell that starts with one of these characters, or with its full-width or
# small form, as a formula, some also after blanks, quotes and characters without a width.
# backend/api/history_export.py has the same pattern.
_FORMULA: Final = re.compile(
    "[\\s\\x00-\\x1f'\"\u00ad\u180e\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff]*"
    "[-=+@\t\r\n\u2212\ufe62\ufe63\ufe66\ufe6b\uff0b\uff0d\uff1d\uff20]"
)


def escape_unencodable(text: str) -> str:
    r"""Return the text with everything escaped that UTF-8 cannot encode.

    Byte FF of a file name becomes `\xff`.
    """
    return _UNENCODABLE.sub(_escape, text)


def escape_unprintable(text: str) -> str:
    r"""Return the text as one line that is safe in a terminal or a page; ESC becomes `\x1b`."""
    return _UNPRINTABLE.sub(_escape, text)


def escape_formula(text: str) -> str:
    """Return the text as a spreadsheet cell, prefixed with an apostrophe if it is a formula."""
    return f"'{text}" if _FORMULA.match(text) else text


def unescape_formula(cell: str) -> str:
    """Return the text of a cell written with `escape_formula`."""
    return cell[1:] if cell.startswith("'") and _FORMULA.match(cell) else cell


def _escape(match: re.Match[str]) -> str:
    code = ord(match[0])
    if 0xDC80 <= code <= 0xDCFF:  # surrogate escape of a byte that is not UTF-8
        code -= 0xDC00
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"
