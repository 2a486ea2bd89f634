"""File descriptors: how many connections the limit of open files allows.

Without a descriptor the kernel's connections cannot be accepted, and they are reset.
"""

import logging
import sys
from typing import Final, NamedTuple

log = logging.getLogger("prism.server")

# Connections above the limit: they are read so that probes succeed and others get a 503.
MAX_OVER_LIMIT: Final = 256
MAX_BACKLOG: Final = 2048  # connections that the kernel has made and the server may accept at once

_FILES: Final = 256  # descriptors for models, the history, libraries and processes
_MIN_FILES: Final = 40  # a service with the shipped models has 24


class DescriptorBudget(NamedTuple):
    """Numbers of connections."""

    connections: int
    over_limit: int
    backlog: int


def reserve_descriptors(max_connections: int) -> DescriptorBudget:
    """Raise the soft limit of open files if possible, and return the connections it allows."""
    wanted = _FILES + max_connections + MAX_OVER_LIMIT + MAX_BACKLOG
    limit = _raise_file_limit(wanted)
    budget = divide_descriptors(limit, max_connections)
    if budget.connections < max_connections:
        log.warning(
            "only %d instead of %d connections: at most %d files may be open (ulimit -n)",
            budget.connections,
            max_connections,
            limit,
        )
    return budget


def divide_descriptors(limit: int, max_connections: int) -> DescriptorBudget:
    """Divide `limit` open files between connections and everything else."""
    files = min(_FILES, max(_MIN_FILES, limit // 8))
    spare = max(limit - files, 4)
    over_limit = min(MAX_OVER_LIMIT, spare // 4)
    backlog = min(MAX_BACKLOG, max(spare // 4, spare - over_limit - max_connections))
    return DescriptorBudget(min(max_connections, spare - over_limit - backlog), over_limit, backlog)


def _raise_file_limit(wanted: int) -> int:
    """Raise the soft limit of open files to `wanted`, or to the hard limit; return the limit."""
    if sys.platform == "win32":
        return wanted
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return wanted
    limit = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
    return limit
