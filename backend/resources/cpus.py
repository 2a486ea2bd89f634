"""Processors that this process may use: the container's limit, not the host's cores."""

import os
import platform
from pathlib import Path

from backend.resources.cgroup import cpu_quotas

_ROOT = Path("/")


def cpu_limit(root: Path = _ROOT) -> float:
    """Return the number of processors that may be used, such as 1.5.

    It is the smallest of the affinity mask and the quotas of the cgroup and its ancestors.
    """
    return min([_affinity(), *cpu_quotas(root)])


def cpu_model(path: Path = Path("/proc/cpuinfo")) -> str:
    """Return the model and the instruction sets of the processor, as far as the system tells."""
    try:
        lines = path.read_text().partition("\n\n")[0].splitlines()
    except OSError:
        return platform.processor()
    names = ("model name", "flags", "Features")  # Features: on ARM
    return "; ".join(line for line in lines if line.startswith(names))


def threads_per_worker(limit: float, workers: int = 1) -> int:
    """Return the number of threads with which each of `workers` processes fills `limit`."""
    return max(1, round(limit / workers))


def _affinity() -> float:
    if hasattr(os, "sched_getaffinity"):
        return float(len(os.sched_getaffinity(0)))
    return float(os.cpu_count() or 1)  # macOS and Windows
