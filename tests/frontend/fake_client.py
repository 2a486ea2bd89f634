"""A client that returns classifications from a function."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from client import BackendError, Classification, Client, ClientError, ItemError
from frontend.service.predictions import ImageFile
from tests.frontend.samples import make_classification

GOOD = make_classification(("7", 1.0))
BAD = BackendError(status=415)

Classify = Callable[[bytes], Classification | BackendError]


class FakeClient(Client):
    """Returns the result of a function of the content, and records the requests."""

    def __init__(self, classify_content: Classify) -> None:
        super().__init__("http://fake")
        self.classify_content = classify_content
        self.batches: list[int] = []
        self.coverages: list[float | None] = []

    def classify(self, image: bytes, **options: Any) -> Classification:
        self.batches.append(1)
        self.coverages.append(options["coverage"])
        outcome = self.classify_content(image)
        if isinstance(outcome, BackendError):
            raise outcome
        return outcome

    def classify_batch(
        self, images: Sequence[tuple[str, bytes]], **options: Any
    ) -> Iterator[Classification | ItemError]:
        self.batches.append(len(images))
        self.coverages.append(options["coverage"])
        for name, content in images:
            outcome = self.classify_content(content)
            yield ItemError(name, outcome) if isinstance(outcome, BackendError) else outcome


def classify_or_reject(content: bytes) -> Classification | BackendError:
    """Reject content that starts with bad."""
    return BAD if content.startswith(b"bad") else GOOD


def image_files(*contents: str) -> list[ImageFile]:
    return [ImageFile(f"{content}.png", content.encode()) for content in contents]


def fail_first(times: int, error: ClientError) -> Classify:
    """Return a function that raises `error` the given number of times, then succeeds."""
    errors = [error] * times

    def classify(content: bytes) -> Classification | BackendError:
        if errors:
            raise errors.pop()
        return classify_or_reject(content)

    return classify
