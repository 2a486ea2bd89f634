"""Teach a model on features that the backend computes. Imports no Streamlit.

The interface of the pages to the package `teach`, which is imported only when a model is taught:
scikit-learn takes a second to import.
"""

import base64
import hashlib
import io
import json
import threading
import zipfile
from collections.abc import Iterator, MutableMapping, Sequence
from typing import TYPE_CHECKING, Any, Final, Protocol

import numpy as np

from client import Client, ClientError, Embedding, ModelInfo, Models, ModelVersion
from client.batches import split_batches
from client.retry import Retry
from frontend.service.errors import describe_model_state, is_permanent
from frontend.service.model_choice import AUTO
from frontend.ui.alerts import Problem

if TYPE_CHECKING:
    from teach.types import Backbone, TaughtModel

NONE_OF_THESE: Final = "None of these"
BACKBONE: Final = "photos"
NAME_PATTERN: Final = r"[a-z0-9](?:[a-z0-9._-]{0,62}[a-z0-9])?"
BATCH_IMAGES: Final = 16
BATCH_BYTES: Final = 16_000_000
ACCURACY_METRIC: Final = "test_accuracy"
_PIXEL: Final = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNoAAAAggCBd81ytgAAAABJRU5ErkJggg=="
)
MAX_WAIT: Final = 90.0  # s for a backend that is away or busy

Features = Any  # an array (D,), float32, or None for a file that is no image
Cache = MutableMapping[str, Features]  # by SHA-256 of the file


class TeachingError(Exception):
    """No model can be taught; the message is for the user."""


class TeachingCanceledError(TeachingError):
    """The user stopped the job."""


class Progress(Protocol):
    """A job that shows its progress and can be canceled."""

    note: str
    stop: threading.Event

    def advance(self, done: int, total: int | None = None) -> None:
        """Report `done` of `total` steps."""

    def is_cancelled(self) -> bool:
        """Return whether to stop."""


class LabeledFile(Protocol):
    """An image file with its class."""

    label: str
    file: Any


def teach(
    client: Client, images: Sequence[LabeledFile], cache: Cache, name: str, job: Progress
) -> "TaughtModel":
    """Return a model that is taught on the images, in order.

    Raise TeachingError, TeachingCanceledError or ClientError.
    """
    from teach.errors import TeachCancelled, TeachError
    from teach.train import train
    from teach.types import Example

    examples = [Example(one.label, one.file.content, one.file.name) for one in images]

    def report(step: str, share: float) -> None:
        job.note = step
        job.advance(round(1000 * share))

    try:
        return train(
            examples,
            ServedEmbedding(client, cache, job),
            find_backbone(client),
            name=name,
            progress=report,
            is_cancelled=job.is_cancelled,
        )
    except TeachCancelled as error:
        raise TeachingCanceledError from error
    except TeachError as error:
        raise TeachingError(str(error)) from error


def find_backbone(client: Client) -> "Backbone":
    """Return the photo model as a backbone; raise TeachingError or ClientError.

    An image without features, one gray pixel, shows the checksum and the number of features.
    """
    from teach.types import Backbone

    card = client.model(BACKBONE)
    result = next(iter(client.embed([("pixel.png", _PIXEL)], BACKBONE)))
    if not isinstance(result, Embedding):
        raise result.error
    if card.preprocess is None:
        raise TeachingError(
            "The backend does not say how it prepares images. Update it to the version of this page."
        )
    backbone = result.backbone
    return Backbone(
        backbone.name, card.info.version, backbone.sha256, card.preprocess, len(result.embedding)
    )


class ServedEmbedding:
    """Features of image files from the backend, in batches; each content is sent once.

    It has the signature of `teach.types.Embed`.
    """

    def __init__(self, client: Client, cache: Cache, job: Progress) -> None:
        self._client = client
        self._cache = cache
        self._job = job

    def __call__(self, contents: Sequence[bytes]) -> list[Features]:
        """Return the L2-normalized features of each file; raise ClientError or TeachCancelled."""
        digests = [hashlib.sha256(content).hexdigest() for content in contents]
        missing = {
            digest: content
            for digest, content in zip(digests, contents, strict=True)
            if digest not in self._cache
        }
        batches = split_batches(
            missing.items(),
            max_items=BATCH_IMAGES,
            max_bytes=BATCH_BYTES,
            size=lambda item: len(item[1]),
        )
        for batch in batches:
            self._embed(batch)
        return [self._cache[digest] for digest in digests]

    def _embed(self, batch: Sequence[tuple[str, bytes]]) -> None:
        retry = Retry(self._job.stop, max_seconds=MAX_WAIT, max_retry_after=MAX_WAIT)
        while True:
            if self._job.is_cancelled():
                raise TeachingCanceledError
            try:
                results = list(self._client.embed(batch, BACKBONE))
                break
            except ClientError as error:
                if not retry.wait(error):
                    raise
        for (digest, _), result in zip(batch, results, strict=True):
            if isinstance(result, Embedding):
                self._cache[digest] = np.asarray(result.embedding, np.float32)
            elif is_permanent(result.error):
                self._cache[digest] = None
            else:
                raise result.error


def taught_models(models: Models) -> list[ModelInfo]:
    """Return the served models that were taught."""
    return [model for model in models.models if is_taught(model)]


def is_taught(model: ModelInfo) -> bool:
    """Return whether a model is a head on a backbone."""
    return model.backbone is not None


def is_reserved(name: str, models: Models | None) -> bool:
    """Return whether a model that was not taught has this name."""
    served = models.get(name) if models else None
    return name == AUTO or (served is not None and not is_taught(served))


def missing_backbone(models: Models) -> Problem | None:
    """Return why no model can be taught, or None."""
    backbone = models.get(BACKBONE)
    if backbone is None:
        return Problem(
            f"This backend does not serve the model {BACKBONE}, on which models are taught.",
            f"Add {BACKBONE} to PRISM_MODELS, and restart the backend.",
        )
    return describe_model_state(backbone)


def upload(client: Client, name: str, model: "TaughtModel", reason: str | None) -> ModelVersion:
    """Upload a model, which is served from then on; raise ClientError."""
    return client.put_model(name, model.manifest, model.head, card=model.card, reason=reason)


def export(client: Client, name: str) -> Iterator[bytes]:
    """Yield the zip with the ONNX graph of a taught model; raise ClientError."""
    yield client.export_model(name)


def accuracy(version: ModelVersion) -> float | None:
    """Return the measured accuracy of a version in [0, 1], or None."""
    return version.metrics.get(ACCURACY_METRIC)


def zip_folder(name: str, model: "TaughtModel") -> bytes:
    """Return the model folder as a zip."""
    files = {
        "manifest.json": json.dumps(model.manifest, indent=2, ensure_ascii=False).encode(),
        "head.safetensors": model.head,
        "README.md": model.card.encode(),
    }
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for file, content in files.items():
            archive.writestr(f"{name}/{file}", content)
    return buffer.getvalue()
