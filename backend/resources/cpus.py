"""How many processors this process may use: the container's limit, not the host's cores."""

import os
from pathlib import Path

from backend.resources.cgroup import folders

_ROOT = Path("/")


def cpu_limit(root: Path = _ROOT) -> float:
    """Processors that may be used, as a number such as 1.5.

    The smallest of the affinity mask and the quotas of the cgroup (version 1 or 2) and all above
    it. `root` is where /proc and /sys are looked for.
    """
    quotas = (_quota(folder) for folder in folders(root, "cpu", "cpu,cpuacct"))
    return min([_affinity(), *(quota for quota in quotas if quota)])


def cores(limit: float, workers: int = 1) -> int:
    """Threads that keep one of `workers` processes busy within `limit` processors."""
    return max(1, round(limit / workers))


def _affinity() -> float:
    if hasattr(os, "sched_getaffinity"):
        return float(len(os.sched_getaffinity(0)))
    return float(os.cpu_count() or 1)  # macOS and Windows


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
