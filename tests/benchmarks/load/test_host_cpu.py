"""CPU usage of other processes is measured."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.load.host_cpu import CpuTimes, share_of_others

TICKS = os.sysconf("SC_CLK_TCK")


def test_iowait_is_idle_and_guest_time_counts_once(tmp_path: Path) -> None:
    stat = tmp_path / "stat"
    seconds = (10, 1, 4, 100, 5, 0, 0, 0, 10, 0)
    stat.write_text("cpu  " + " ".join(str(value * TICKS) for value in seconds) + "\ncpu0 1 2 3\n")
    times = CpuTimes.read(stat)
    assert times is not None
    assert (times.total, times.busy) == (120, 15)


def test_missing_stat_file_returns_none(tmp_path: Path) -> None:
    assert CpuTimes.read(tmp_path / "stat") is None


def test_generator_and_services_are_not_other_processes() -> None:
    # 40 s: 30 s busy, of which 4 s by the generator
    before, after = CpuTimes(100, 50, 1), CpuTimes(140, 80, 5)
    assert share_of_others(before, after, [10.0, 6.0]) == pytest.approx(10 / 40)
    assert share_of_others(before, after, [30.0]) == 0


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_ended_generator_counts_as_child() -> None:
    before = CpuTimes.read()
    subprocess.run([sys.executable, "-c", "sum(range(5_000_000))"], check=True)
    after = CpuTimes.read()
    assert before is not None
    assert after is not None
    assert after.children > before.children
