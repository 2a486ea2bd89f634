"""How much memory this process may use: the container's limit, not the host's memory."""

import os
from dataclasses import dataclass
from pathlib import Path

from backend.resources.cgroup import folders

_ROOT = Path("/")


@dataclass(frozen=True, slots=True)
class Shares:
    """Bytes for pictures that are being decoded, and for files that have been sent.

    The rest is left for the process with its models, and for what the allocator keeps: as measured
    in 512 MB, where both were filled at a time.
    """

    decoding: int
    files: int

    @classmethod
    def of(cls, limit: int) -> "Shares":
        """The shares of a process that may use `limit` bytes."""
        return cls(decoding=limit // 3, files=limit // 8)


def memory_limit(root: Path = _ROOT) -> int | None:
    """Bytes that may be used; None where the system does not tell.

    The smallest of the machine's memory and the limits of the cgroup (version 1 or 2) and all
    above it. `root` is where /proc and /sys are looked for.
    """
    limits = (_limit(folder) for folder in folders(root, "memory"))
    return min([*_machine(), *(limit for limit in limits if limit)], default=None)


def _machine() -> list[int]:
    try:
        return [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    except (AttributeError, ValueError):  # Windows
        return []


def _limit(folder: Path) -> int | None:
    """The limit of one cgroup, None where it has none."""
    for name in ("memory.max", "memory.limit_in_bytes"):
        try:
            return int((folder / name).read_text())
        except (OSError, ValueError):  # "max" is no number, and means no limit
            continue
    return None
