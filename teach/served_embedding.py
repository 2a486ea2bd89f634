"""Features from a served model, through `POST /embed`."""

import base64
import threading
from collections.abc import Sequence
from typing import Final

import numpy as np

from client import Client, ClientError, Embedding, ItemError
from client.batches import split_batches
from client.retry import Retry
from teach.errors import TeachCancelled, TeachError
from teach.types import Backbone, Floats

BATCH_IMAGES: Final = 16
BATCH_BYTES: Final = 8_000_000
MAX_WAIT: Final = 90.0  # s for a backend that is away or busy
_UNUSABLE: Final = frozenset({400, 413, 415, 422})  # statuses of an image that stays unusable
_PIXEL: Final = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNoAAAAggCBd81ytgAAAABJRU5ErkJggg=="
)


class ServedEmbedding:
    """Returns the features of image files; it is a `teach.types.Embed`.

    Temporary failures are retried for MAX_WAIT seconds; setting `stop` ends the waiting. Raise
    ClientError if the backend cannot be used, and TeachError if the model returns no features.
    """

    def __init__(self, client: Client, model: str, stop: threading.Event | None = None) -> None:
        self._client = client
        self._model = model
        self._stop = stop or threading.Event()
        card = client.model(model)
        # The response for any image has the checksum and the number of features.
        result = self._request([_PIXEL])[0]
        if isinstance(result, ItemError):
            raise result.error
        if card.preprocess is None:
            raise TeachError("The backend is too old to teach models; update it.")
        backbone = result.backbone
        self.backbone: Final = Backbone(
            name=backbone.name,
            version=card.info.version,
            sha256=backbone.sha256,
            preprocess=card.preprocess,
            dimensions=len(result.embedding),
        )

    def __call__(self, contents: Sequence[bytes]) -> list[Floats | None]:
        """Return the features of each file in order, or None for a file that is no image."""
        batches = split_batches(contents, max_items=BATCH_IMAGES, max_bytes=BATCH_BYTES, size=len)
        return [_features(result) for batch in batches for result in self._request(batch)]

    def _request(self, batch: Sequence[bytes]) -> list[Embedding | ItemError]:
        """Return the results of one request; images that fail temporarily are sent again."""
        retry = Retry(self._stop, max_seconds=MAX_WAIT, max_retry_after=MAX_WAIT)
        results: dict[int, Embedding | ItemError] = {}
        while True:
            pending = [index for index in range(len(batch)) if index not in results]
            files = [(f"{index}", batch[index]) for index in pending]
            try:
                for index, result in zip(
                    pending, self._client.embed(files, self._model), strict=True
                ):
                    if isinstance(result, ItemError) and result.error.status not in _UNUSABLE:
                        raise result.error
                    results[index] = result
                return [results[index] for index in range(len(batch))]
            except ClientError as error:
                if retry.wait(error):
                    continue
                if self._stop.is_set():
                    raise TeachCancelled("The training was stopped.") from error
                raise


def _features(result: Embedding | ItemError) -> Floats | None:
    if isinstance(result, ItemError):
        return None
    return np.asarray(result.embedding, np.float32)
