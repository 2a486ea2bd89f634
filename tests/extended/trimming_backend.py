"""`python -m tests.extended.trimming_backend`: the backend, which returns freed memory on SIGUSR1.

glibc keeps up to 32 MB of freed memory (backend/resources/allocator.py), which varies from moment
to moment and would hide the growth of what is in use.
"""

import ctypes
import gc
import signal

from backend.server.entrypoint import main


def trim(*_: object) -> None:
    """Collect garbage and return freed memory to the system."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)


if __name__ == "__main__":
    signal.signal(signal.SIGUSR1, trim)
    main()
