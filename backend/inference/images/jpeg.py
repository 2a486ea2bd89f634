"""How often a JPEG makes its decoder pass over all pixels, told from the markers alone."""

import re
from typing import Final

_SOS, _EOI = 0xDA, 0xD9
# Inside a scan 0xFF is followed by zero (a plain byte), a restart marker, or another 0xFF (fill).
_MARKER: Final = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")


def scans(data: bytes) -> int:
    """Count the scans of a JPEG, up to the end of its picture.

    What lies inside other segments (a thumbnail) or behind the picture (a phone's film) is not
    counted.
    """
    if data.count(bytes((0xFF, _SOS))) <= 1:
        return 1
    found, position = 0, 2
    while marker := _MARKER.search(data, position):
        kind = data[marker.start() + 1]
        if kind == _EOI:
            break
        found += kind == _SOS
        length = int.from_bytes(data[marker.end() : marker.end() + 2], "big")
        position = marker.end() + max(length, 2)
    return max(found, 1)
