"""A client that answers from a function."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from client import BackendError, Classification, Client, ClientError, ItemError
from frontend.datasets.images import Picture
from tests.frontend.answers import answer

GOOD = answer(("7", 1.0))
BAD = BackendError(status=415)

Judge = Callable[[bytes], Classification | BackendError]


class FakeClient(Client):
    """Answers from a function of the content, and notes what it was asked."""

    def __init__(self, judge: Judge) -> None:
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
    """Refuse what is called bad."""
    return BAD if content.startswith(b"bad") else GOOD


def pictures(*contents: str) -> list[Picture]:
    return [Picture(f"{content}.png", content.encode()) for content in contents]


def failing(times: int, error: ClientError) -> Judge:
    """Return a judge that raises `error` for so many times, and then answers."""
    left = [error] * times

    def judged(content: bytes) -> Classification | BackendError:
        if left:
            raise left.pop()
        return judge(content)

    return judged
