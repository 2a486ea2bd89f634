"""Asking once, and what fails alone."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from client import BackendError, BackendUnreachable, Classification, Client, ItemError
from frontend.datasets.images import Picture
from frontend.service import predictions
from frontend.service.errors import Unopened
from frontend.service.predictions import BATCH_PICTURES, Memory, Outcome, Question
from tests.frontend.answers import MODEL
from tests.frontend.asked import BAD, GOOD, FakeClient, judge, pictures

ASKED = Question(MODEL)


def ask(client: Client, given: Sequence[Picture], memory: Memory | None = None) -> list[Outcome]:
    return predictions.ask(client, ASKED, given, memory or Memory())


def test_a_bad_picture_fails_alone() -> None:
    assert ask(FakeClient(judge), pictures("a", "bad", "b")) == [GOOD, BAD, GOOD]
    assert ask(FakeClient(judge), pictures("bad")) == [BAD]


def test_the_same_picture_is_asked_about_once() -> None:
    client, memory = FakeClient(judge), Memory()
    ask(client, pictures("a", "b", "a", "bad"), memory)
    ask(client, pictures("a", "b", "a", "bad"), memory)
    assert client.batches == [3]


def test_another_coverage_is_another_question() -> None:
    client, memory = FakeClient(judge), Memory()
    for coverage in (0.95, 0.99, 0.95, None):
        predictions.ask(client, Question(MODEL, coverage), pictures("a"), memory)
    predictions.ask(client, Question(MODEL, 0.9), pictures("a", "b"), memory)
    assert client.coverages == [0.95, 0.99, None, 0.9]


def test_many_pictures_go_in_batches_and_progress_is_told() -> None:
    client = FakeClient(judge)
    told: list[tuple[int, int]] = []
    many = pictures(*map(str, range(BATCH_PICTURES + 1)))
    predictions.ask(client, ASKED, many, Memory(), lambda done, total: told.append((done, total)))
    assert client.batches == [BATCH_PICTURES, 1]
    assert told[-1] == (BATCH_PICTURES + 1, BATCH_PICTURES + 1)


def test_when_the_backend_goes_away_the_rest_share_that_and_are_asked_about_again() -> None:
    gone = BackendUnreachable("http://fake")
    calls = 0

    def failing(content: bytes) -> Classification:
        nonlocal calls
        calls += 1
        if calls == 2:
            raise gone
        return GOOD

    memory = Memory()
    assert ask(FakeClient(failing), pictures("a", "b", "c"), memory) == [GOOD, gone, gone]
    client = FakeClient(judge)
    assert ask(client, pictures("a", "b", "c"), memory) == [GOOD, GOOD, GOOD]
    assert client.batches == [2]


def test_a_batch_too_large_for_the_backend_goes_one_by_one() -> None:
    class Small(FakeClient):
        def classify_batch(self, images: object, **_: Any) -> Iterator[Classification | ItemError]:
            raise BackendError(status=413)

    assert ask(Small(judge), pictures("a", "bad", "b")) == [GOOD, BAD, GOOD]


def test_memory_is_bounded() -> None:
    memory = Memory(limit=2)
    given = pictures("a", "b", "c")
    for picture in given:
        memory.put(picture, ASKED, GOOD)
    assert [memory.get(picture, ASKED) for picture in given] == [None, GOOD, GOOD]


def test_what_was_known_before_is_answered_though_new_answers_push_it_out() -> None:
    client, memory = FakeClient(judge), Memory(limit=2)
    ask(client, pictures("a", "bad"), memory)
    assert ask(client, pictures("a", "bad", "b", "c"), memory) == [GOOD, BAD, GOOD, GOOD]


def test_a_picture_with_a_fault_is_not_sent() -> None:
    client = FakeClient(judge)
    given = [*pictures("a"), Picture("torn.png", b"", "It is torn.")]
    good, torn = ask(client, given)
    assert good == GOOD
    assert isinstance(torn, Unopened)
    assert torn.fault == "It is torn."
    assert client.batches == [1]


def test_a_thousand_pictures_do_not_keep_a_thousand_probabilities_each() -> None:
    full = replace(GOOD, probabilities=(0.5, 0.5))
    assert ask(FakeClient(lambda _: full), pictures("a")) == [full]
    assert ask(FakeClient(lambda _: full), pictures("a", "b")) == [GOOD, GOOD]


def test_what_the_model_sees_is_another_question() -> None:
    client, memory = FakeClient(judge), Memory()
    for seen in (False, True, True):
        predictions.ask(client, Question(MODEL, seen=seen), pictures("a"), memory)
    assert client.batches == [1, 1]
