"""Memory of the page's container. Imports no Streamlit.

The limit is that of the container, not the memory of the host. Files in the temporary folder count
as used: containers often keep it in memory, as Cloud Run does.
"""

import errno
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

RESERVE: Final = 160_000_000  # bytes that uploads leave free, for the scripts of all sessions
_ROOT: Final = Path("/")
_FILES: Final = (  # of cgroups version 2 and 1: limit, usage, and the key of reclaimable files
    ("memory.max", "memory.current", "inactive_file"),
    ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
)


def memory_limit(root: Path = _ROOT) -> int:
    """Return the number of bytes that this process and its files may use."""
    limits = [limit for limit, _ in _cgroups(root)]
    return min([*limits, os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")])


def free_memory(root: Path = _ROOT) -> int:
    """Return the number of bytes below the limits of the container and of the host."""
    free = [limit - usage for limit, usage in _cgroups(root)]
    return min([*free, *_free_on_host(root)], default=memory_limit(root))


def share(maximum: int, root: Path = _ROOT) -> int:
    """Return `maximum` bytes, or a quarter of the memory where that is less."""
    return min(maximum, memory_limit(root) // 4)


def require_free(size: int, root: Path = _ROOT) -> None:
    """Raise OSError (ENOSPC) where `size` more bytes would leave less than RESERVE free."""
    if free_memory(root) - size < RESERVE:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _free_on_host(root: Path) -> Iterator[int]:
    try:
        lines = (root / "proc/meminfo").read_text().splitlines()
    except OSError:
        return
    for line in lines:
        name, _, value = line.partition(":")
        if name == "MemAvailable":
            yield int(value.split()[0]) * 1024


def _cgroups(root: Path) -> Iterator[tuple[int, int]]:
    """Yield limit and usage of each control group of this process that has a limit."""
    try:
        lines = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers and "memory" not in controllers.split(","):
            continue
        top = root / "sys/fs/cgroup" / ("memory" if controllers else "")
        own = top / path.lstrip("/")
        # In a container the path is often the host's and does not exist; the top has the limits.
        for folder in (own, *own.parents):
            if folder.is_relative_to(top) and (found := _read_cgroup(folder)):
                yield found


def _read_cgroup(folder: Path) -> tuple[int, int] | None:
    for limit_name, usage_name, key in _FILES:
        try:
            limit = int((folder / limit_name).read_text())
            usage = int((folder / usage_name).read_text())
            stat = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
        except (OSError, ValueError):  # "max" means no limit
            continue
        return limit, usage - int(stat.get(key, 0))
    return None
