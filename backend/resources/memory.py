"""Memory that this process may use: the container's limit, not the host's memory."""

import os
from dataclasses import dataclass
from pathlib import Path

from backend.resources import cgroup
from backend.resources.cgroup import memory_limits

_ROOT = Path("/")
_MAX_INFERENCE = 512_000_000  # larger batches than this allows gain nothing on a CPU


@dataclass(frozen=True, slots=True)
class MemoryShares:
    """Bytes for decoding images, for uploaded files, and for the forward passes of each model.

    The rest is for the process with its models and for the allocator's overhead. The shares were
    measured in 512 MB, with both filled at the same time.
    """

    decoding: int
    files: int
    inference: int

    @classmethod
    def from_limit(cls, limit: int) -> "MemoryShares":
        """Return the shares of a process that may use `limit` bytes."""
        inference = min(limit // 8, _MAX_INFERENCE)
        return cls(decoding=limit // 3, files=limit // 12, inference=inference)


def memory_limit(root: Path = _ROOT) -> int | None:
    """Return the number of bytes that may be used; None if unknown.

    It is the smallest of the physical memory and the limits of the cgroup and its ancestors.
    """
    return min([*_physical_memory(), *memory_limits(root)], default=None)


def free_memory(root: Path = _ROOT) -> int | None:
    """Return how many more bytes this process may use; None if unknown.

    It is the smallest of the free memory of the machine, and of the cgroup and its ancestors.
    """
    return min([*_free_physical_memory(root), *cgroup.free_memory(root)], default=None)


def _free_physical_memory(root: Path) -> list[int]:
    try:
        lines = (root / "proc/meminfo").read_text().splitlines()
    except OSError:  # not Linux
        return []
    return [int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:")]


def _physical_memory() -> list[int]:
    try:
        return [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    except (AttributeError, ValueError):  # Windows
        return []
