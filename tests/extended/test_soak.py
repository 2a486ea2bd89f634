"""Mixed hostile traffic: after a warm-up, neither memory nor descriptors nor threads grow.

PRISM_SOAK_MINUTES=30 python -m pytest -s tests/extended/test_soak.py
"""

import os
import signal
import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import pytest

from tests.e2e.backend_process import BackendProcess
from tests.extended.hostile_traffic import KEY, HostileTraffic

MINUTES = float(os.environ.get("PRISM_SOAK_MINUTES", "2"))
PARTS = 6  # the first one is the warm-up
IDLE = 15.0  # seconds until expired connections are closed
MAX_GROWTH = 20.0  # MB
EXPECTED = {"sent", "closed", "429", "431", "499", "503", "504"}


class TrimmingBackend(BackendProcess):
    """A backend that can be asked to return freed memory to the system."""

    module = "tests.extended.trimming_backend"

    def trim(self) -> None:
        """Return freed memory, and wait until that is done."""
        self.process.send_signal(signal.SIGUSR1)
        time.sleep(2)
        assert self.get("/health").status_code == 200


@dataclass(frozen=True)
class Resources:
    """What a process and its children use."""

    memory: float  # MB
    descriptors: int
    threads: int
    processes: int


def children(pid: int) -> Iterable[int]:
    """Yield the process and all its descendants."""
    yield pid
    for task in Path(f"/proc/{pid}/task").iterdir():
        for child in (task / "children").read_text().split():
            yield from children(int(child))


def measure(pid: int) -> Resources:
    """Return what the process `pid` and its descendants use."""
    pids = list(children(pid))
    return Resources(
        memory=sum(map(proportional_size, pids)) / 1e6,
        descriptors=sum(len(list(Path(f"/proc/{one}/fd").iterdir())) for one in pids),
        threads=sum(len(list(Path(f"/proc/{one}/task").iterdir())) for one in pids),
        processes=len(pids),
    )


def proportional_size(pid: int) -> int:
    """Return the resident bytes of a process; pages that it shares with others are divided."""
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except ProcessLookupError:  # it has ended, and its parent has not read its exit status yet
        return 0
    return sum(1024 * int(line.split()[1]) for line in text.splitlines() if line[:4] == "Pss:")


@pytest.mark.skipif(sys.platform != "linux", reason="requires /proc")
def test_hostile_traffic_leaves_nothing_behind(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with TrimmingBackend(
        log,
        PRISM_DATA_DIR=str(tmp_path / "data"),
        PRISM_API_KEYS=sha256(KEY.encode()).hexdigest(),
    ) as backend:
        backend.wait_until_ready()
        traffic = HostileTraffic(backend.port)
        samples = []
        try:
            for _ in range(PARTS):
                traffic.run(60 * MINUTES / PARTS)
                time.sleep(IDLE)
                print("before freed memory is returned:", measure(backend.process.pid))
                backend.trim()
                samples.append(measure(backend.process.pid))
                print(samples[-1], flush=True)
        finally:
            traffic.close()
            for (kind, outcome), count in sorted(traffic.outcomes.items()):
                print(kind, outcome, count)
        assert backend.process.poll() is None
    first, last = samples[0], samples[-1]
    assert last.memory - first.memory <= MAX_GROWTH
    assert last.descriptors <= first.descriptors
    assert last.threads <= first.threads
    assert last.processes <= first.processes
    failures = {
        (kind, outcome): count
        for (kind, outcome), count in traffic.outcomes.items()
        if outcome >= "500" and outcome not in EXPECTED
    }
    assert not failures
    assert traffic.outcomes["ordinary", "200"]
    assert "Traceback" not in log.read_text()
