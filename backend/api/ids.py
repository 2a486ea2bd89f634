"""IDs of requests and classifications: ULIDs, rendered faster than by python-ulid.

Source: https://github.com/ulid/spec. A ULID has 48 bits of time in milliseconds and 80 random bits,
as 26 characters in Crockford's base 32.
"""

import os
import time
from typing import Final

_ALPHABET: Final = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_PAIRS: Final = [first + second for first in _ALPHABET for second in _ALPHABET]
_SHIFTS: Final = range(120, -1, -10)  # of the 10 bits of each pair

_last = 0


def new_id() -> str:
    """Return a new ULID, which is greater than all previous ones of this process."""
    global _last
    milliseconds = time.time_ns() // 1_000_000
    random = int.from_bytes(os.urandom(10), "big")
    _last = value = max(milliseconds << 80 | random, _last + 1)
    return "".join([_PAIRS[value >> shift & 1023] for shift in _SHIFTS])
