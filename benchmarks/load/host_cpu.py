"""Measures how much CPU time of this machine other processes used during a run.

Figures from a busy machine understate what the service can do.
"""

import os
import resource
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

_IDLE_FIELDS = (3, 4)  # idle and iowait in the first line of /proc/stat
_FIRST_GUEST_FIELD = 8  # guest time is already included in user time


class CpuTimes(NamedTuple):
    """CPU seconds since the start: of the machine, and of this process's ended children."""

    total: float
    busy: float
    children: float  # the load generator, once it has ended

    @classmethod
    def read(cls, stat: Path = Path("/proc/stat")) -> "CpuTimes | None":
        """Return the current times, or None if the system is not Linux."""
        try:
            fields = stat.read_text().splitlines()[0].split()[1:]
            ticks = [int(field) for field in fields][:_FIRST_GUEST_FIELD]
        except (OSError, ValueError, IndexError):
            return None
        total, per_second = sum(ticks), os.sysconf("SC_CLK_TCK")
        busy = total - sum(ticks[field] for field in _IDLE_FIELDS)
        children = sum(resource.getrusage(resource.RUSAGE_CHILDREN)[:2])  # user and system time
        return cls(total / per_second, busy / per_second, children)


def share_of_others(before: CpuTimes, after: CpuTimes, services: Sequence[float]) -> float:
    """Return the share of the machine (0 to 1) that other processes used.

    `services` are the CPU seconds of each tested service between the two readings.
    """
    busy = after.busy - before.busy - (after.children - before.children) - sum(services)
    return max(0.0, busy / max(after.total - before.total, 1e-9))
