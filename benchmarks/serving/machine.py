"""The machine of a measurement: cores, versions, and the servers' memory and processor time."""

import math
import os
import platform
import subprocess
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from benchmarks.serving.assets import ROOT

_PACKAGES = (
    *("onnxruntime", "numpy", "pillow", "uvicorn", "fastapi"),
    *("torch", "torchvision", "litserve", "bentoml"),
)
_PROC = Path("/proc")
# Indices in `stat`, after the process name in parentheses.
_STATE, _PARENT, _SESSION, _CPU, _START = 0, 1, 3, slice(11, 15), 19


def available_cores() -> tuple[int, ...]:
    """Return the numbers of the cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return tuple(sorted(os.sched_getaffinity(0)))
    return tuple(range(os.cpu_count() or 1))


def describe_machine() -> str:
    """Return cores, processor, memory, operating system and package versions in one line."""
    return (
        f"{len(available_cores())} cores of {_processor()}, {_memory()}{platform.system()}, "
        f"Python {platform.python_version()}, {', '.join(_package_versions())}"
    )


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.machine())


def _memory() -> str:
    try:
        size = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError, AttributeError):
        return ""
    return f"{size / 2**30:.0f} GiB of memory, "


def _package_versions() -> list[str]:
    versions = []
    for name in _PACKAGES:
        try:
            versions.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            continue
    return versions


def commit() -> str:
    """Return the checked out commit, abbreviated; `+` marks changes, empty: no repository."""
    try:
        result = run_git("describe", "--always", "--abbrev=10", "--exclude=*", "--dirty=+")
    except OSError:
        return ""
    return result.stdout.strip()


def run_git(*arguments: str) -> "subprocess.CompletedProcess[str]":
    """Run git in the repository and return its result; raise OSError without git."""
    return subprocess.run(
        ["git", *arguments],  # noqa: S607
        cwd=ROOT,
        capture_output=True,
        text=True,
    )


def session_processes(session: int) -> list[int]:
    """Return the ids of the processes of a session and of all their descendants (Linux)."""
    processes = _read_processes()
    found = {pid for pid, fields in processes.items() if int(fields[_SESSION]) == session}
    while children := {
        pid
        for pid, fields in processes.items()
        if int(fields[_PARENT]) in found and pid not in found
    }:
        found |= children
    return sorted(found)


def start_times(pids: Iterable[int]) -> dict[int, int]:
    """Return when each process started, in clock ticks since the boot; ended ones are left out."""
    processes = _read_processes()
    running = [pid for pid in pids if pid in processes and processes[pid][_STATE] != "Z"]
    return {pid: int(processes[pid][_START]) for pid in running}


def session_memory(session: int) -> float:
    """Return the proportional set size of a session's processes in MB (10^6 bytes).

    Raise OSError if the system is not Linux.
    """
    total = 0
    for pid in session_processes(session):
        for line in (_PROC / str(pid) / "smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                total += 1024 * int(line.split()[1])
    return total / 1e6


def session_cpu(session: int) -> float:
    """Return the processor time of a session's processes in seconds, NaN if not on Linux.

    It includes user and system time, and that of ended children whose parent has waited for them.
    """
    if not _PROC.exists():
        return math.nan
    processes = _read_processes()
    ticks = sum(
        int(field) for pid in session_processes(session) for field in processes.get(pid, [])[_CPU]
    )
    return ticks / os.sysconf("SC_CLK_TCK")


def package_energy() -> float:
    """Return the energy counter of the processor packages in joules (Intel RAPL), else NaN.

    Virtual machines rarely have it. It counts everything that runs on the machine.
    """
    try:
        counters = [
            int((zone / "energy_uj").read_text())
            for zone in Path("/sys/class/powercap").glob("intel-rapl:?")
        ]
    except OSError:
        return math.nan
    return sum(counters) / 1e6 if counters else math.nan


def _read_processes() -> dict[int, list[str]]:
    """Return the fields of `stat` after the name, by process id; none if not on Linux."""
    processes: dict[int, list[str]] = {}
    if not _PROC.exists():
        return processes
    for folder in _PROC.iterdir():
        if folder.name.isdecimal():
            try:
                fields = (folder / "stat").read_text().rpartition(")")[2].split()
            except OSError:  # the process has just ended
                continue
            processes[int(folder.name)] = fields
    return processes
