"""Processes and their TCP connections, from /proc."""

import time
from pathlib import Path


def child_workers(supervisor: int) -> list[int]:
    """Return the IDs of the supervisor's worker processes, including those that are starting."""
    tasks = Path(f"/proc/{supervisor}/task/{supervisor}/children")
    pids = [int(text) for text in tasks.read_text().split()]
    return [pid for pid in pids if b"spawn_main" in _read(f"/proc/{pid}/cmdline")]


def wait_until_stopped(pid: int, seconds: float = 10) -> None:
    """Wait until SIGSTOP has taken effect, or the process has ended."""
    end = time.monotonic() + seconds
    while _read(f"/proc/{pid}/stat").rpartition(b")")[2].split()[:1] not in ([b"T"], [b"Z"], []):
        assert time.monotonic() < end
        time.sleep(0.001)


def client_ports(pid: int, port: int) -> set[int]:
    """Return the clients' ports of the connections to `port` that the process has accepted."""
    inodes = set()
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        target = str(descriptor.readlink())
        if target.startswith("socket:["):
            inodes.add(target[8:-1])
    ports = set()
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        if int(fields[1].split(":")[1], 16) == port and fields[9] in inodes:
            ports.add(int(fields[2].split(":")[1], 16))
    return ports


def _read(path: str) -> bytes:
    """Return the content of a file in /proc, empty if the process has ended."""
    try:
        return Path(path).read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return b""
