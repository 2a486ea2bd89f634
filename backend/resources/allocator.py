"""Settings of the C library's memory allocator, so that the process returns what it has freed.

By default, glibc raises its threshold for large blocks up to 32 MB and gives each thread a heap of
its own: after some large images, freed memory of several hundred megabytes stays in the process.
"""

import ctypes
import sys
from contextlib import suppress
from typing import Final

# Parameters of mallopt, from malloc.h. The thresholds in bytes, measured in 512 MB, return the
# memory of large images and keep that of small ones, whose reallocation would cost a fifth of the
# time.
_M_TRIM_THRESHOLD: Final = -1
_M_MMAP_THRESHOLD: Final = -3
_M_ARENA_MAX: Final = -8
_SETTINGS: Final = {
    _M_MMAP_THRESHOLD: 12_582_912,
    _M_TRIM_THRESHOLD: 33_554_432,
    _M_ARENA_MAX: 1,
}


def return_freed_memory() -> bool:
    """Apply the settings, before the first thread starts; return False without glibc."""
    if sys.platform != "linux":
        return False
    with suppress(OSError, AttributeError):  # musl has no mallopt
        mallopt = ctypes.CDLL(None).mallopt
        results = [mallopt(parameter, value) for parameter, value in _SETTINGS.items()]
        return 0 not in results
    return False


def release_freed_memory() -> None:
    """Return the freed memory that is below the thresholds, too. It takes some milliseconds."""
    if sys.platform == "linux":
        with suppress(OSError, AttributeError):  # musl has no malloc_trim
            ctypes.CDLL(None).malloc_trim(0)
