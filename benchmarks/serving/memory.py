"""Memory of a server and its children, each page shared out among those that share it."""

from pathlib import Path

_PROC = Path("/proc")
_SESSION = 3  # place of the session id in `stat`, after the name in parentheses


def members(session: int, proc: Path = _PROC) -> list[int]:
    """The ids of all processes of a session."""
    found = []
    for folder in proc.iterdir():
        if folder.name.isdecimal():
            try:
                fields = (folder / "stat").read_text().rpartition(")")[2].split()
            except OSError:  # it has just ended
                continue
            if int(fields[_SESSION]) == session:
                found.append(int(folder.name))
    return found


def proportional_megabytes(session: int, proc: Path = _PROC) -> float:
    """Proportional set size of a session in MB (10^6 bytes); raises OSError where not on Linux."""
    total = 0
    for pid in members(session, proc):
        for line in (proc / str(pid) / "smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                total += 1024 * int(line.split()[1])
    return total / 1e6
