"""The batcher gives everyone their own answer, in few batches, and refuses what does not fit."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager

import numpy as np
import pytest

from backend.inference.batcher import Batched, Batcher
from backend.inference.errors import ClosedError, QueueFullError
from backend.inference.types import Floats

WAIT = 10


def row(value: float, count: int = 1) -> Floats:
    return np.full((count, 1), value, dtype=np.float32)


class Gate:
    """A function that doubles its rows, once it is let; it remembers its batches."""

    def __init__(self) -> None:
        self.started = threading.Semaphore(0)
        self.open = threading.Event()
        self.batches: list[list[float]] = []

    def __call__(self, rows: Floats) -> Floats:
        self.batches.append(rows[:, 0].tolist())
        self.started.release()
        assert self.open.wait(WAIT)
        if (rows == 13).any():
            raise ValueError("unlucky")
        return rows * 2


@contextmanager
def running(run: Callable[[Floats], Floats], **options: int) -> Iterator[Batcher]:
    batcher = Batcher(run, **options)
    try:
        yield batcher
    finally:
        batcher.close()


def value(future: Future[Batched]) -> float:
    return float(future.result(WAIT).outputs[0, 0])


def busy(batcher: Batcher, gate: Gate) -> Future[Batched]:
    """Submit an item and wait until the function works on it."""
    first = batcher.submit(row(0))
    assert gate.started.acquire(timeout=WAIT)
    return first


def test_everyone_gets_their_own_answer() -> None:
    with running(lambda rows: rows * 2, max_batch=8) as batcher:
        futures = [batcher.submit(row(i)) for i in range(100)]
        assert [value(future) for future in futures] == [2 * i for i in range(100)]


def test_what_comes_alone_goes_at_once_and_alone() -> None:
    gate = Gate()
    gate.open.set()
    with running(gate) as batcher:
        assert value(batcher.submit(row(1))) == 2
        assert value(batcher.submit(row(2))) == 4
    assert gate.batches == [[1], [2]]


def test_arrivals_gather_while_the_function_is_busy_up_to_the_limit() -> None:
    gate = Gate()
    with running(gate, max_batch=3) as batcher:
        futures = [busy(batcher, gate), *(batcher.submit(row(i)) for i in range(1, 6))]
        gate.open.set()
        assert [value(future) for future in futures] == [0, 2, 4, 6, 8, 10]
    assert gate.batches == [[0], [1, 2, 3], [4, 5]]


def test_the_rows_of_one_item_stay_together() -> None:
    gate = Gate()
    with running(gate, max_batch=4) as batcher:
        busy(batcher, gate)
        first, second = batcher.submit(row(1, 3)), batcher.submit(row(2, 2))
        gate.open.set()
        assert first.result(WAIT).outputs.shape == (3, 1)
        assert second.result(WAIT).outputs[:, 0].tolist() == [4, 4]
    assert gate.batches == [[0], [1, 1, 1], [2, 2]]


def test_a_full_queue_is_refused_at_once() -> None:
    gate = Gate()
    with running(gate, queue_size=2) as batcher:
        busy(batcher, gate)
        waiting = [batcher.submit(row(1)), batcher.submit(row(2))]
        with pytest.raises(QueueFullError):
            batcher.submit(row(3))
        gate.open.set()
        assert [value(future) for future in waiting] == [2, 4]


def test_a_cancelled_item_costs_nothing_and_hurts_nobody() -> None:
    gate = Gate()
    with running(gate) as batcher:
        busy(batcher, gate)
        gone, stays = batcher.submit(row(1)), batcher.submit(row(2))
        assert gone.cancel()
        gate.open.set()
        assert value(stays) == 4
    assert gate.batches == [[0], [2]]


def test_an_item_that_fails_fails_alone() -> None:
    gate = Gate()
    with running(gate) as batcher:
        busy(batcher, gate)
        good, bad, fine = (batcher.submit(row(i)) for i in (1, 13, 2))
        gate.open.set()
        assert (value(good), value(fine)) == (2, 4)
        with pytest.raises(ValueError, match="unlucky"):
            bad.result(WAIT)


def test_closing_finishes_what_was_accepted_and_takes_no_more() -> None:
    gate = Gate()
    batcher = Batcher(gate)
    futures = [busy(batcher, gate), batcher.submit(row(1))]
    closing = threading.Thread(target=batcher.close)
    closing.start()
    gate.open.set()
    closing.join(WAIT)
    assert [value(future) for future in futures] == [0, 2]
    with pytest.raises(ClosedError):
        batcher.submit(row(2))


def test_the_time_in_the_queue_and_in_the_function_is_told() -> None:
    with running(lambda rows: rows) as batcher:
        done = batcher.submit(row(1)).result(WAIT)
    assert done.queue >= 0
    assert done.inference >= 0
