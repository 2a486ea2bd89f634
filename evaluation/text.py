"""Names and labels as anybody chose them, made fit to be written and shown."""

import re
from typing import Final

_UNENCODABLE: Final = re.compile("[\ud800-\udfff]")
# Also line separators, the marks that turn the direction of writing, and what XML forbids.
_HIDDEN: Final = re.compile(
    "[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]"
)


def encodable(text: str) -> str:
    r"""The text with what UTF-8 cannot hold escaped: the byte FF of a file's name as `\xff`."""
    return _UNENCODABLE.sub(_escape, text)


def printable(text: str) -> str:
    r"""The text in one line that does nothing to a terminal or a page: ESC as `\x1b`."""
    return _HIDDEN.sub(_escape, text)


def _escape(found: re.Match[str]) -> str:
    code = ord(found[0])
    if 0xDC80 <= code <= 0xDCFF:  # how Python holds a byte of a name that is not UTF-8
        code -= 0xDC00
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"
