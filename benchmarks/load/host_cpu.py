"""How much of this machine other work took meanwhile: figures of a busy machine are not its own."""

import os
import resource
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

_IDLE = (3, 4)  # places of idle and waiting for a disk in the first line of /proc/stat
_GUEST = 8  # from here on, what the first two have already


class Moment(NamedTuple):
    """Seconds of CPU of the whole machine so far, and how many of them were busy."""

    total: float
    busy: float
    own: float  # of the generator, once it has ended

    @classmethod
    def now(cls, stat: Path = Path("/proc/stat")) -> "Moment | None":
        """This moment; None where not on Linux."""
        try:
            ticks = [int(one) for one in stat.read_text().splitlines()[0].split()[1:]][:_GUEST]
        except (OSError, ValueError, IndexError):
            return None
        total, idle = sum(ticks), sum(ticks[place] for place in _IDLE)
        a_second = os.sysconf("SC_CLK_TCK")
        ended = resource.getrusage(resource.RUSAGE_CHILDREN)
        return cls(total / a_second, (total - idle) / a_second, ended.ru_utime + ended.ru_stime)


def share(before: Moment, after: Moment, services: Sequence[float]) -> float:
    """The share of the machine (0 to 1) that neither the generator nor the `services` took.

    `services` are the seconds of CPU of each between the two moments.
    """
    busy = after.busy - before.busy - (after.own - before.own) - sum(services)
    return max(0.0, busy / max(after.total - before.total, 1e-9))
