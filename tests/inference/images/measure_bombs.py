"""Decode every bomb in this process, and print what each takes as a line of JSON.

A process of its own, because memory that other tests have used would hide what a bomb takes.
"""

import ctypes
import gc
import json
import resource
import sys
import time
from pathlib import Path

from backend.inference.errors import ImageError
from backend.inference.images import isolation, opening
from backend.inference.images.image_reader import ImageReader
from backend.inference.images.memory_cost import estimate_memory
from tests.inference.images.bombs import BOMBS

MEMORY = 170_000_000  # bytes, a third of 512 MB
MAX_PIXELS = 50_000_000


def main() -> None:
    """Measure the bombs, or those whose names are arguments."""
    reader = ImageReader(MAX_PIXELS, MEMORY)
    for name in sys.argv[1:] or BOMBS:
        data = BOMBS[name]()
        gc.collect()
        ctypes.CDLL(None).malloc_trim(0)
        Path("/proc/self/clear_refs").write_text("5")  # the peak is measured from here
        base, started = _status("VmRSS"), _seconds()
        error = None
        try:
            with reader.read(data):
                pass
        except ImageError as found:
            error = type(found).__name__
        peak = _status("VmHWM") - base
        isolation.close()
        seconds = _seconds() - started
        estimate = 0
        if error is None:
            estimate = estimate_memory(opening.open_image(data, max_pixels=MAX_PIXELS))
        allowed = min(estimate, MEMORY) + 3 * len(data) + 5_000_000
        line = {"peak": peak, "allowed": allowed, "seconds": seconds, "error": error}
        print(json.dumps({"name": name} | line), flush=True)
    peak = 1024 * resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    print(json.dumps({"name": "processes", "peak": peak}))


def _status(key: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith(f"{key}:"))


def _seconds() -> float:
    """Return the processor time of this process and of those that it has waited for."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


if __name__ == "__main__":
    main()
