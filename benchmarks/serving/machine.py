"""The machine of a measurement: cores, versions, and the memory of the servers' processes."""

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

_PACKAGES = (
    *("onnxruntime", "numpy", "pillow", "uvicorn", "fastapi"),
    *("torch", "torchvision", "litserve", "bentoml"),
)
_PROC = Path("/proc")
_SESSION_FIELD = 3  # index of the session id in `stat`, after the process name in parentheses


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


def session_processes(session: int) -> list[int]:
    """Return the ids of all processes of a session (Linux)."""
    pids = []
    for folder in _PROC.iterdir():
        if folder.name.isdecimal():
            try:
                fields = (folder / "stat").read_text().rpartition(")")[2].split()
            except OSError:  # the process has just ended
                continue
            if int(fields[_SESSION_FIELD]) == session:
                pids.append(int(folder.name))
    return pids


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
