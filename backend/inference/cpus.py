"""How many processors this process may use: the container's limit, not the host's cores."""

import os
from collections.abc import Iterator
from pathlib import Path

_ROOT = Path("/")


def cpu_limit(root: Path = _ROOT) -> float:
    """Processors that may be used, as a number such as 1.5.

    The smallest of the affinity mask and the quotas of the cgroup (version 1 or 2) and all above
    it. `root` is where /proc and /sys are looked for.
    """
    quotas = (_quota(folder) for folder in _folders(root))
    return min([_affinity(), *(quota for quota in quotas if quota)])


def cores(limit: float, workers: int = 1) -> int:
    """Threads that keep one of `workers` processes busy within `limit` processors."""
    return max(1, round(limit / workers))


def _affinity() -> float:
    if hasattr(os, "sched_getaffinity"):
        return float(len(os.sched_getaffinity(0)))
    return float(os.cpu_count() or 1)  # macOS and Windows


def _folders(root: Path) -> Iterator[Path]:
    """Where this process's quotas may stand, from its own cgroup up to the root of each tree.

    Inside a container the path is often the host's and leads nowhere: the root is what counts.
    """
    try:
        lines = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers and "cpu" not in controllers.split(","):
            continue
        for tree in (controllers, "cpu", "cpu,cpuacct") if controllers else ("", "unified"):
            top = root / "sys/fs/cgroup" / tree
            own = top / path.lstrip("/")
            yield from (folder for folder in (own, *own.parents) if folder.is_relative_to(top))


def _quota(folder: Path) -> float | None:
    """The quota of one cgroup in processors, None where it has none."""
    try:
        if (folder / "cpu.max").is_file():
            quota, period = (folder / "cpu.max").read_text().split()
        else:
            quota = (folder / "cpu.cfs_quota_us").read_text().strip()
            period = (folder / "cpu.cfs_period_us").read_text().strip()
        return float(quota) / float(period) if float(quota) > 0 else None
    except (OSError, ValueError):  # "max" is no number, and means no limit
        return None
