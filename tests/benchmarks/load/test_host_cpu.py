"""What other work takes of the machine."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.load.host_cpu import Moment, share

TICKS = os.sysconf("SC_CLK_TCK")


def test_waiting_is_no_work_and_guests_count_once(tmp_path: Path) -> None:
    stat = tmp_path / "stat"
    seconds = (10, 1, 4, 100, 5, 0, 0, 0, 10, 0)
    stat.write_text("cpu  " + " ".join(str(one * TICKS) for one in seconds) + "\ncpu0 1 2 3\n")
    moment = Moment.now(stat)
    assert moment is not None
    assert (moment.total, moment.busy) == (120, 15)


def test_where_there_is_no_such_file_nothing_is_said(tmp_path: Path) -> None:
    assert Moment.now(tmp_path / "stat") is None


def test_others_are_what_neither_generator_nor_services_took() -> None:
    before, after = (
        Moment(100, 50, 1),
        Moment(140, 80, 5),
    )  # 40 s, of which 30 busy, 4 the generator
    assert share(before, after, [10.0, 6.0]) == pytest.approx(10 / 40)
    assert share(before, after, [30.0]) == 0


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_generator_that_has_ended_is_not_taken_for_others() -> None:
    before = Moment.now()
    subprocess.run([sys.executable, "-c", "sum(range(5_000_000))"], check=True)
    after = Moment.now()
    assert before is not None
    assert after is not None
    assert after.own > before.own
