"""Asking for answers, each only once. No Streamlit in here."""

from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TypedDict

from client import BackendError, Classification, Client, ClientError, ItemError, ModelInfo
from client.batches import split_batches
from frontend.service.predictions import ImageFile
from frontend.service.errors import UnreadableImageError, is_permanent

Outcome = Classification | ClientError
Key = tuple[str, str, float | None, bool, bool]

REMEMBERED = 20_000  # two models on the most pictures that are taken at once
BATCH_IMAGES = 16
BATCH_BYTES = 16_000_000  # a batch that is sent again after a failure should not take long
TOP = 10


@dataclass(frozen=True, slots=True)
class PredictionRequest:
    """What is asked of a picture: the model, and the coverage of its prediction set, if any.

    With `model_input` the answer for a picture on its own has what the model was given. Without `store` it
    is kept out of the history.
    """

    model: ModelInfo
    coverage: float | None = None
    model_input: bool = False
    store: bool = True

    @property
    def key(self) -> Key:
        """What tells it from other questions."""
        return (self.model.name, self.model.version, self.coverage, self.model_input, self.store)


class Options(TypedDict):
    """What the client is told of a question."""

    model: str
    top_k: int | None
    coverage: float | None
    store: bool


class PredictionCache:
    """The last outcomes, by content and question. Passing troubles are not kept, only answers."""

    def __init__(self, limit: int = REMEMBERED) -> None:
        self._limit = limit
        self._kept: OrderedDict[tuple[str, Key], Outcome] = OrderedDict()

    def get(self, picture: ImageFile, question: PredictionRequest) -> Outcome | None:
        """Return what is known of this picture, or None."""
        return self._kept.get((picture.digest, question.key))

    def put(self, picture: ImageFile, question: PredictionRequest, outcome: Outcome) -> None:
        """Keep an outcome that asking again would not change."""
        if not isinstance(outcome, ClientError) or is_permanent(outcome):
            self.keep(picture, question, outcome)

    def keep(self, picture: ImageFile, question: PredictionRequest, outcome: Outcome) -> None:
        """Keep an outcome, whatever it is."""
        self._kept[picture.digest, question.key] = outcome
        while len(self._kept) > self._limit:
            self._kept.popitem(last=False)


def ask(
    client: Client,
    question: PredictionRequest,
    pictures: Sequence[ImageFile],
    memory: PredictionCache,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> list[Outcome]:
    """Return one outcome for each picture, asking only for those that `memory` does not know.

    A picture that cannot be read fails alone. Where the backend itself fails, the rest of the
    pictures share that error. `progress(done, total)` is told of every picture asked for. Of
    several pictures the answers have no `probabilities`, only the `top` of them.
    """
    outcomes: dict[str, Outcome] = {}
    unknown: dict[str, ImageFile] = {}
    for picture in pictures:
        if picture.fault is not None:
            memory.keep(picture, question, UnreadableImageError(picture.fault))
        if (known := memory.get(picture, question)) is None:
            unknown[picture.digest] = picture
        else:
            outcomes[picture.digest] = known  # what is put there below may push it out
    asked = _outcomes(client, question, list(unknown.values()))
    for done, (picture, outcome) in enumerate(asked, start=1):
        memory.put(picture, question, outcome)
        outcomes[picture.digest] = outcome
        progress(done, len(unknown))
    return [outcomes[picture.digest] for picture in pictures]


def _outcomes(
    client: Client, question: PredictionRequest, pictures: Sequence[ImageFile]
) -> Iterator[tuple[ImageFile, Outcome]]:
    answered = 0
    try:
        batches = split_batches(
            pictures,
            max_items=BATCH_IMAGES,
            max_bytes=BATCH_BYTES,
            size=lambda picture: len(picture.content),
        )
        for batch in batches:
            for picture, outcome in zip(batch, _batch(client, question, batch), strict=False):
                answered += 1
                yield picture, outcome
    except ClientError as error:
        for picture in pictures[answered:]:
            yield picture, error


def _batch(client: Client, question: PredictionRequest, batch: Sequence[ImageFile]) -> Iterator[Outcome]:
    if len(batch) > 1:
        images = [(picture.name, picture.content) for picture in batch]
        try:
            for item in client.classify_batch(images, **_options(question)):
                yield _lean(item)
            return
        except BackendError as error:
            if error.status != 413:
                raise
    for picture in batch:
        yield _alone(client, question, picture)


def _lean(item: Classification | ItemError) -> Outcome:
    """Leave out what takes the most room: a thousand probabilities, of a thousand pictures."""
    return item.error if isinstance(item, ItemError) else replace(item, probabilities=None)


def _alone(client: Client, question: PredictionRequest, picture: ImageFile) -> Outcome:
    try:
        return client.classify(
            picture.content,
            filename=picture.name,
            model_input=question.model_input,
            **_options(question),
        )
    except BackendError as error:
        if is_permanent(error):
            return error
        raise


def _options(question: PredictionRequest) -> Options:
    return {
        "model": question.model.name,
        "top_k": min(TOP, len(question.model.labels)) or None,
        "coverage": question.coverage,
        "store": question.store,
    }
