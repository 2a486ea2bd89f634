"""The measurement of the CPU time of HTTP."""

import re
import sys

import pytest

from benchmarks import http_cost


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_table_has_the_cost_of_every_request(capsys: pytest.CaptureFixture[str]) -> None:
    http_cost.main(["--rounds", "1", "--seconds", "0.2"])
    rows = re.findall(r"\| (.+) \| (\d+) \| (\d+) \|", capsys.readouterr().out)
    assert [title for title, *_ in rows] == [row.title for row in http_cost.ROWS]
    assert all(int(least) > 0 for _, least, _ in rows)
