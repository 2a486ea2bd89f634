"""Which answers of a run count."""

import pytest

from benchmarks.serving.responses import Answer, Records


def records(*times: float, start: float = 0.0, end: float = 10.0) -> Records:
    return Records(start, end, [Answer(at, 0.1, 200) for at in times])


def test_what_was_answered_while_warming_up_or_too_late_does_not_count() -> None:
    assert [answer.at for answer in records(1, 2, 3, 4, start=1.5, end=3.5).counted()] == [2, 3]


@pytest.mark.parametrize("start", [1.5, 2.5, 3.9])
def test_a_server_that_answers_in_batches_gains_nothing_by_when_one_looks(start: float) -> None:
    bursts = [second + share for second in range(20) for share in (0.0, 0.001, 0.002, 0.003)]
    found = records(*bursts, start=start, end=start + 5)
    assert len(found.counted()) / found.span == pytest.approx(4)


def test_a_time_without_answers_has_a_span_all_the_same() -> None:
    assert records(start=1, end=3).span == 2
    assert records(0.5, start=1, end=3).counted() == []
