"""Pictures that are found again."""

import threading
import weakref

import pytest

from frontend.datasets import selections
from frontend.datasets.images import Picture
from frontend.datasets.selections import Batch, Batches
from frontend.service.predictions import Question
from tests.frontend.answers import MODEL, answer

QUESTION = Question(MODEL)


class Clock:
    """A time that tests set."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def batch(size: int = 1) -> Batch:
    return Batch([Picture("a.png", b"a" * size)])


def test_a_batch_is_found_by_its_token_until_it_is_dropped() -> None:
    held, kept = Batches(), batch()
    held.put(kept)
    assert held.find(kept.token) is kept
    assert held.find("another") is None
    assert held.find(None) is None
    held.drop(kept.token)
    assert held.find(kept.token) is None


def test_pictures_that_nobody_looks_at_are_forgotten() -> None:
    clock = Clock()
    held, looked_at, left = Batches(clock), batch(), batch()
    held.put(looked_at)
    held.put(left)
    clock.now = selections.FORGOTTEN - 1
    held.find(looked_at.token)
    clock.now = selections.FORGOTTEN + 1
    assert held.find(looked_at.token) is looked_at
    assert held.find(left.token) is None


def test_pictures_are_forgotten_though_nobody_comes_any_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(selections, "FORGOTTEN", 0.1)
    held, left = Batches(), batch()
    held.put(left)
    gone = threading.Event()
    weakref.finalize(left, gone.set)
    del left
    assert gone.wait(20)


def test_too_many_bytes_push_out_what_was_not_looked_at_for_longest(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(selections, "MOST_BYTES", 100)
    held, first, second, third = Batches(), batch(40), batch(40), batch(40)
    held.put(first)
    held.put(second)
    held.find(first.token)
    held.put(third)
    assert [held.find(one.token) for one in (first, second, third)] == [first, None, third]


def test_the_last_batch_is_held_whatever_its_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(selections, "MOST_BYTES", 100)
    held, large = Batches(), batch(400)
    held.put(large)
    assert held.find(large.token) is large


def test_a_batch_knows_what_is_not_read_yet() -> None:
    pictures = [Picture("a.png", b"a"), Picture("b.png", b"b")]
    one, seven = Batch(pictures), answer(("7", 1.0))
    one.memory.put(pictures[0], QUESTION, seven)
    assert one.outcomes(QUESTION) == [seven, None]
    assert one.unread(QUESTION) == [pictures[1]]
    assert one.unread(Question(MODEL, 0.9)) == pictures
