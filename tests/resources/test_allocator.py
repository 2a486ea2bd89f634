import os
import subprocess
import sys

import pytest

from tests.conftest import ROOT

# Uses and frees the memory of large images in threads, and prints the bytes that stay.
PROGRAM = """
import threading
from pathlib import Path
from backend.resources.allocator import return_freed_memory

def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096

def work():
    for _ in range(3):
        bytearray(b"x" * 30_000_000)
    barrier.wait()

if {applied}:
    assert return_freed_memory()
barrier = threading.Barrier(3)
before = resident()
threads = [threading.Thread(target=work) for _ in range(2)]
for thread in threads:
    thread.start()
barrier.wait()
print(resident() - before)
"""


def kept_bytes(*, applied: bool) -> int:
    program = PROGRAM.format(applied=applied)
    command = [sys.executable, "-c", program]
    environ = {name: os.environ[name] for name in os.environ if not name.startswith("MALLOC_")}
    process = subprocess.run(
        command, cwd=ROOT, env=environ, capture_output=True, check=True, text=True
    )
    return int(process.stdout)


@pytest.mark.skipif(sys.platform != "linux", reason="needs glibc")
def test_freed_blocks_of_large_images_leave_the_process() -> None:
    assert kept_bytes(applied=True) < 5_000_000
    assert kept_bytes(applied=False) > 50_000_000


# Frees all blocks of a heap but the last, and prints the bytes that leave the process then.
RELEASING = """
import ctypes
from pathlib import Path
from backend.resources.allocator import release_freed_memory

def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096

libc = ctypes.CDLL(None)
libc.malloc.restype, libc.free.argtypes = ctypes.c_void_p, [ctypes.c_void_p]
blocks = [libc.malloc(100_000) for _ in range(500)]
for block in blocks:
    ctypes.memset(block, 1, 100_000)
for block in blocks[:-1]:
    libc.free(block)
before = resident()
release_freed_memory()
print(before - resident())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="needs glibc")
def test_freed_small_blocks_leave_the_process_on_request() -> None:
    command = [sys.executable, "-c", RELEASING]
    process = subprocess.run(command, cwd=ROOT, capture_output=True, check=True, text=True)
    assert int(process.stdout) > 30_000_000
