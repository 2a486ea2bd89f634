"""Asking once, and what fails alone."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from client import BackendError, BackendUnreachable, Classification, Client, ItemError
from frontend import asking
from frontend.asking import BATCH_PICTURES, Memory, Outcome, Question
from frontend.pictures import Picture
from tests.frontend.answers import MODEL, answer

GOOD = answer(("7", 1.0))
BAD = BackendError(status=415)
ASKED = Question(MODEL)


class FakeClient(Client):
    """Answers from a function of the content, and notes what it was asked."""

    def __init__(self, judge: Callable[[bytes], Classification | BackendError]) -> None:
        super().__init__("http://fake")
        self.judge = judge
        self.batches: list[int] = []
        self.coverages: list[float | None] = []

    def classify(self, image: bytes, **options: Any) -> Classification:
        self.batches.append(1)
        self.coverages.append(options["coverage"])
        outcome = self.judge(image)
        if isinstance(outcome, BackendError):
            raise outcome
        return outcome

    def classify_batch(
        self, images: Sequence[tuple[str, bytes]], **options: Any
    ) -> Iterator[Classification | ItemError]:
        self.batches.append(len(images))
        self.coverages.append(options["coverage"])
        for name, content in images:
            outcome = self.judge(content)
            yield ItemError(name, outcome) if isinstance(outcome, BackendError) else outcome


def judge(content: bytes) -> Classification | BackendError:
    return BAD if content.startswith(b"bad") else GOOD


def pictures(*contents: str) -> list[Picture]:
    return [Picture(f"{content}.png", content.encode()) for content in contents]


def ask(client: Client, given: Sequence[Picture], memory: Memory | None = None) -> list[Outcome]:
    return asking.ask(client, ASKED, given, memory or Memory())


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
        asking.ask(client, Question(MODEL, coverage), pictures("a"), memory)
    asking.ask(client, Question(MODEL, 0.9), pictures("a", "b"), memory)
    assert client.coverages == [0.95, 0.99, None, 0.9]


def test_many_pictures_go_in_batches_and_progress_is_told() -> None:
    client = FakeClient(judge)
    told: list[tuple[int, int]] = []
    many = pictures(*map(str, range(BATCH_PICTURES + 1)))
    asking.ask(client, ASKED, many, Memory(), lambda done, total: told.append((done, total)))
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
