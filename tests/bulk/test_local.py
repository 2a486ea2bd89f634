"""Processes of a job that end: replaced while units are finished, else the command stops."""

from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool
from typing import Any

import pytest

from bulk import local
from bulk.errors import WorkerError


class DyingPool:
    """A pool whose processes finish `units` units and then end."""

    def __init__(self, units: int) -> None:
        self._units = units
        self._processes: dict[int, Any] = {}

    def submit(self, _: object, unit: int) -> "Future[int]":
        future: Future[int] = Future()
        if self._units:
            self._units -= 1
            future.set_result(unit)
        else:
            future.set_exception(BrokenProcessPool())
        return future

    def shutdown(self, **_: object) -> None:
        pass


def run_with_pools(monkeypatch: pytest.MonkeyPatch, units: list[int]) -> list[int]:
    """Run 10 units in successive pools that finish `units` units; return those left over."""
    left = list(units)
    monkeypatch.setattr(local, "ProcessPoolExecutor", lambda *_: DyingPool(left.pop(0)))
    local.run(None, range(10), None, workers=2)  # type: ignore[arg-type]
    return left


def test_three_ends_in_succession_stop_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(WorkerError) as error:
        run_with_pools(monkeypatch, [0, 0, 0, 10])
    text = str(error.value)
    assert "ended 3 times while they classified units 0, 1" in text
    assert "reduce --workers and run the same command again" in text


def test_finished_unit_resets_the_number_of_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    assert run_with_pools(monkeypatch, [0, 0, 1, 0, 9, 10]) == [10]
    with pytest.raises(WorkerError):
        run_with_pools(monkeypatch, [0, 1, 0, 0, 9])
