"""Limits of this process from Linux control groups, versions 1 and 2.

`root` is the folder that contains /proc and /sys.
"""

from collections.abc import Iterator
from pathlib import Path


def cpu_quotas(root: Path) -> list[float]:
    """Return the CPU quotas that apply to this process, in processors."""
    quotas = (_cpu_quota(folder) for folder in _folders(root, "cpu", "cpu,cpuacct"))
    return [quota for quota in quotas if quota]


def memory_limits(root: Path) -> list[int]:
    """Return the memory limits that apply to this process, in bytes."""
    limits = (_memory_limit(folder) for folder in _folders(root, "memory"))
    return [limit for limit in limits if limit]


def free_memory(root: Path) -> list[int]:
    """Return how many more bytes this process may use, for each limit that applies to it.

    Cached files that were not read recently count as free, as in the working set of Kubernetes.
    """
    free = []
    for folder in _folders(root, "memory"):
        limit = _memory_limit(folder)
        used = _read_number(folder, "memory.current", "memory.usage_in_bytes")
        if limit and used is not None:
            free.append(max(limit - used + _inactive_files(folder), 0))
    return free


def _cpu_quota(folder: Path) -> float | None:
    try:
        if (folder / "cpu.max").is_file():
            quota, period = (folder / "cpu.max").read_text().split()
        else:
            quota = (folder / "cpu.cfs_quota_us").read_text().strip()
            period = (folder / "cpu.cfs_period_us").read_text().strip()
        return float(quota) / float(period) if float(quota) > 0 else None
    except (OSError, ValueError):  # "max" means no limit
        return None


def _memory_limit(folder: Path) -> int | None:
    return _read_number(folder, "memory.max", "memory.limit_in_bytes")


def _inactive_files(folder: Path) -> int:
    try:
        lines = (folder / "memory.stat").read_text().splitlines()
        fields = dict(line.split() for line in lines)
        return int(fields.get("total_inactive_file") or fields["inactive_file"])
    except (OSError, ValueError, KeyError):
        return 0


def _read_number(folder: Path, *names: str) -> int | None:
    for name in names:
        try:
            return int((folder / name).read_text())
        except (OSError, ValueError):  # "max" means no limit
            continue
    return None


def _folders(root: Path, controller: str, *mounts: str) -> Iterator[Path]:
    """Yield the folders of this process's cgroup and of its ancestors, for one controller.

    `mounts` are other names of the controller's tree in version 1. In a container, the cgroup's
    path is often the host's and does not exist; the root of the tree then has the limits.
    """
    try:
        lines = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers and controller not in controllers.split(","):
            continue
        for tree in (controllers, controller, *mounts) if controllers else ("", "unified"):
            top = root / "sys/fs/cgroup" / tree
            own = top / path.lstrip("/")
            yield from (folder for folder in (own, *own.parents) if folder.is_relative_to(top))
