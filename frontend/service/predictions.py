"""Classify images through the backend, each one only once. Imports no Streamlit."""

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Final, TypedDict

from client import BackendError, Classification, Client, ClientError, ItemError, ModelInfo
from client.batches import split_batches
from evaluation.thumbnails import create_thumbnail
from frontend.service.errors import UnreadableImageError, is_permanent

Outcome = Classification | ClientError
RequestKey = tuple[str, str, float | None, bool, bool]

CACHE_SIZE = 20_000  # outcomes: two models on the maximum number of images of an upload
BATCH_IMAGES = 16
BATCH_BYTES = 16_000_000  # limits the time to resend a batch after a failure
TOP_K = 10
PREVIEW_SIDE = 480  # px
PREVIEW_BACKGROUND = (156, 163, 175)  # a medium gray, on which ink of any color is visible


class ImageFile:
    """An image file, not validated, and the name that the user gave it.

    `error` is a sentence for a file that could not be read, such as a damaged file in a zip.
    """

    def __init__(self, name: str, content: bytes, error: str | None = None) -> None:
        self.name: Final = name
        self.error: Final = error
        self._content = content

    @property
    def content(self) -> bytes:
        """The content of the file."""
        return self._content

    @property
    def size(self) -> int:
        """The number of bytes of the content."""
        return len(self._content)

    @property
    def stored_size(self) -> int:
        """The number of bytes that the image occupies in memory or on disk."""
        return self.size

    @cached_property
    def digest(self) -> str:
        """The SHA-256 that identifies the content."""
        return hashlib.sha256(self.content + (self.error or "").encode()).hexdigest()

    @cached_property
    def preview(self) -> bytes | None:
        """Return an upright PNG of at most PREVIEW_SIDE px; None if it cannot be decoded."""
        return create_thumbnail(self.content, PREVIEW_SIDE, PREVIEW_BACKGROUND)


Images = Sequence[ImageFile]


@dataclass(frozen=True, slots=True)
class PredictionRequest:
    """The parameters of a classification, apart from the image."""

    model: ModelInfo
    coverage: float | None = None  # of the prediction set; None: the model is not calibrated
    model_input: bool = False  # whether the response includes the image that the model received
    store: bool = True  # in the history
    members: tuple[ModelInfo, ...] = ()  # the models that "auto" asks, else empty

    def model_of(self, result: Classification) -> ModelInfo:
        """Return the model that classified the image."""
        return next((m for m in self.members if m.name == result.model.name), self.model)

    @property
    def key(self) -> RequestKey:
        """The values that make two requests equal."""
        return (self.model.name, self.model.version, self.coverage, self.model_input, self.store)


class Options(TypedDict):
    """The options of the client's classify methods."""

    model: str
    top_k: int | None
    coverage: float | None
    store: bool


class PredictionCache:
    """The latest outcomes by image content and request; temporary errors are not cached."""

    def __init__(self, limit: int = CACHE_SIZE) -> None:
        self._limit = limit
        self._outcomes: OrderedDict[tuple[str, RequestKey], Outcome] = OrderedDict()

    def get(self, image: ImageFile, request: PredictionRequest) -> Outcome | None:
        """Return the cached outcome, or None."""
        return self._outcomes.get((image.digest, request.key))

    def put(self, image: ImageFile, request: PredictionRequest, outcome: Outcome) -> None:
        """Cache a classification or a permanent error; ignore a temporary error."""
        if not isinstance(outcome, ClientError) or is_permanent(outcome):
            self.put_always(image, request, outcome)

    def put_always(self, image: ImageFile, request: PredictionRequest, outcome: Outcome) -> None:
        """Cache an outcome, even a temporary error."""
        self._outcomes[image.digest, request.key] = outcome
        while len(self._outcomes) > self._limit:
            self._outcomes.popitem(last=False)


def classify(
    client: Client,
    request: PredictionRequest,
    images: Images,
    cache: PredictionCache,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> list[Outcome]:
    """Return one outcome per image; send only the images that are not in `cache`.

    An unreadable image fails alone. Where the backend itself fails, the remaining images share its
    error. `progress(done, total)` is called for each image sent. Classifications of several images
    have no `probabilities`, only `top`.
    """
    outcomes: dict[str, Outcome] = {}
    uncached: dict[str, ImageFile] = {}
    for image in images:
        if image.error is not None:
            cache.put_always(image, request, UnreadableImageError(image.error))
        if (cached := cache.get(image, request)) is None:
            uncached[image.digest] = image
        else:
            outcomes[image.digest] = cached  # new entries below may evict it from the cache
    sent = _send(client, request, list(uncached.values()))
    for done, (image, outcome) in enumerate(sent, start=1):
        cache.put(image, request, outcome)
        outcomes[image.digest] = outcome
        progress(done, len(uncached))
    return [outcomes[image.digest] for image in images]


def _send(
    client: Client, request: PredictionRequest, images: Images
) -> Iterator[tuple[ImageFile, Outcome]]:
    completed = 0
    try:
        batches = split_batches(
            images,
            max_items=BATCH_IMAGES,
            max_bytes=BATCH_BYTES,
            size=lambda image: image.size,
        )
        for batch in batches:
            for image, outcome in zip(batch, _send_batch(client, request, batch), strict=False):
                completed += 1
                yield image, outcome
    except ClientError as error:
        for image in images[completed:]:
            yield image, error


def _send_batch(client: Client, request: PredictionRequest, batch: Images) -> Iterator[Outcome]:
    if len(batch) > 1:
        files = [(image.name, image.content) for image in batch]
        try:
            for item in client.classify_batch(files, **_options(request)):
                yield _without_probabilities(item)
            return
        except BackendError as error:
            if error.status != 413:
                raise
    for image in batch:
        yield _send_one(client, request, image)


def _without_probabilities(item: Classification | ItemError) -> Outcome:
    """Drop the probabilities, which take the most memory with many classes and images."""
    return item.error if isinstance(item, ItemError) else replace(item, probabilities=None)


def _send_one(client: Client, request: PredictionRequest, image: ImageFile) -> Outcome:
    try:
        return client.classify(
            image.content, filename=image.name, model_input=request.model_input, **_options(request)
        )
    except BackendError as error:
        if is_permanent(error):
            return error
        raise


def _options(request: PredictionRequest) -> Options:
    return {
        "model": request.model.name,
        "top_k": min(TOP_K, len(request.model.labels)) or None,
        "coverage": request.coverage,
        "store": request.store,
    }
