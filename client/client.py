"""Client of the backend: one method per request, with typed responses."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from time import sleep
from typing import Any

import requests
from requests.auth import AuthBase

from . import calls
from .errors import BackendError, ClientError
from .files import (
    MAX_ATTEMPTS,
    FileResult,
    OnWait,
    PendingBatch,
    find_images,
    ignore_wait,
    read_batches,
    require_folder,
)
from .history import History
from .session import Session, Timeout
from .shadow import Shadow
from .types import (
    Classification,
    Embedding,
    ItemError,
    ModelCard,
    Models,
    ModelVersion,
    ModelVersions,
    ServiceInfo,
)

CONNECT_TIMEOUT = 3.05  # s, just above the 3 s after which TCP retransmits a SYN
READ_TIMEOUT = 30.0  # s


class Client:
    """Client of the backend at `url`, safe to share between threads.

    `connect_timeout` and `read_timeout` are in seconds; the latter bounds the time between two
    chunks of a response. `api_key` is the key of the backend; `auth` authenticates against a proxy
    in front of it, for example Cloud Run. A request is sent up to `max_attempts` times while it
    fails temporarily, after the backend's Retry-After; those of `classify_batch`, `embed` and
    `history.export` are sent once. Raise ValueError if `url` is not an http(s) URL or `api_key` has
    invalid characters. All methods raise only BackendUnreachable, BackendError and InvalidResponse.
    """

    def __init__(
        self,
        url: str,
        *,
        api_key: str | None = None,
        auth: AuthBase | None = None,
        connect_timeout: float = CONNECT_TIMEOUT,
        read_timeout: float = READ_TIMEOUT,
        max_attempts: int = 1,
    ) -> None:
        self._session = Session(
            url,
            api_key=api_key,
            auth=auth,
            timeout=(connect_timeout, read_timeout),
            max_attempts=max_attempts,
        )
        self.url = self._session.url
        self.history = History(self._session)

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close all connections."""
        self._session.close()

    def classify(
        self,
        image: bytes,
        *,
        filename: str,
        model: str | None = None,
        top_k: int | None = None,
        coverage: float | None = None,
        model_input: bool = False,
        explain: bool = False,
        store: bool = True,
    ) -> Classification:
        """Classify one image file.

        `coverage` is the fraction of images whose prediction set contains the right label: 0.9,
        0.95 (the default) or 0.99. With `model_input` the classification includes the preprocessed
        input of the model, with `explain` a heat map of what decided. Without `store` it is not
        stored in the history.
        """
        return self._session.send(
            calls.classify(
                image,
                filename,
                model=model,
                top_k=top_k,
                coverage=coverage,
                model_input=model_input,
                explain=explain,
                store=store,
            )
        )

    def classify_batch(
        self,
        images: Sequence[tuple[str, bytes]],
        *,
        model: str | None = None,
        top_k: int | None = None,
        coverage: float | None = None,
        store: bool = True,
    ) -> Iterator[Classification | ItemError]:
        """Classify (file name, content) pairs; yield one result per image, in order.

        The result of an invalid image is an ItemError. If the response ends early, raise
        InvalidResponse after the results that arrived.
        """
        return self._session.stream(
            calls.classify_batch(images, model=model, top_k=top_k, coverage=coverage, store=store)
        )

    def classify_files(
        self,
        paths: Iterable[Path],
        *,
        model: str | None = None,
        top_k: int | None = None,
        coverage: float | None = None,
        store: bool = True,
        max_attempts: int = MAX_ATTEMPTS,
        on_wait: OnWait = ignore_wait,
    ) -> Iterator[FileResult]:
        """Classify image files; yield each path with its classification or error, in order.

        At most 16 files and 8 MB, or one larger file, are in memory. Images and requests that fail
        temporarily are sent up to `max_attempts` times, after the backend's Retry-After; `on_wait`
        is called with the error and the seconds before each wait. A file that cannot be read or
        classified has an error; without a backend that classifies, the errors of Client are raised.
        """
        for batch in read_batches(paths):
            pending = PendingBatch(batch, max_attempts, on_wait)
            while files := pending.next_request():
                results: list[Classification | ItemError] = []
                error: ClientError | None = None
                try:
                    for result in self.classify_batch(
                        files, model=model, top_k=top_k, coverage=coverage, store=store
                    ):
                        results.append(result)  # noqa: PERF402 (keeps what arrives before an error)
                except ClientError as exc:
                    error = exc
                sleep(pending.update(results, error))
            yield from pending.results()

    def classify_folder(self, folder: Path, **options: Any) -> Iterator[FileResult]:
        """Classify all images below `folder`, sorted by name; `options` of `classify_files`.

        Images are files whose names end as those of images do; names that start with a dot, and
        links to folders, are left out. Raise NotADirectoryError if `folder` is none.
        """
        require_folder(folder)
        return self.classify_files(find_images(folder), **options)

    def models(self, *, timeout: Timeout | None = None) -> Models:
        """Return all served models; `timeout` replaces the connect and the read timeout."""
        return self._session.send(calls.models(), timeout)

    def model(self, name: str) -> ModelCard:
        """Return a served model with its model card."""
        return self._session.send(calls.model(name))

    def ready(self) -> bool:
        """Return whether the default model is ready; the backend responds with 503 until it is."""
        try:
            self._session.send_once(calls.ready())
        except BackendError as error:
            if error.status == requests.codes.service_unavailable:
                return False
            raise
        return True

    def info(self) -> ServiceInfo:
        """Return the name and the version of the service."""
        return self._session.send(calls.info())

    def embed(
        self, files: Sequence[tuple[str, bytes]], model: str = "photos"
    ) -> Iterator[Embedding | ItemError]:
        """Embed (file name, content) pairs; yield one result per image, in order.

        `model` is the backbone, or a model taught on it. The result of an invalid image is an
        ItemError. If the response ends early, raise InvalidResponse after the results that arrived.
        """
        return self._session.stream(calls.embed(files, model))

    def put_model(
        self,
        name: str,
        manifest: Mapping[str, Any],
        head: bytes,
        card: str | None = None,
        reason: str | None = None,
        activate: bool = True,
    ) -> ModelVersion:
        """Upload a version of a taught model: its manifest, `head.safetensors` and model card.

        `reason` is stored with the version. Without `activate` the version is stored but not
        served. BackendError has the status 401 or 403 without permission, 409 if `name` is not
        that of a taught model, and 422 if the model is invalid.
        """
        return self._session.send(calls.put_model(name, manifest, head, card, reason, activate))

    def versions(self, name: str) -> ModelVersions:
        """Return the stored versions of a taught model."""
        return self._session.send(calls.versions(name))

    def activate(self, name: str, version: int) -> ModelVersion:
        """Serve a stored version of a taught model from now on."""
        return self._session.send(calls.activate(name, version))

    def delete_version(self, name: str, version: int) -> None:
        """Delete a stored version; BackendError has the status 409 if it is the active one."""
        self._session.send(calls.delete_version(name, version))

    def shadow(self, name: str) -> Shadow | None:
        """Return the shadow of a taught model with its results; None if it has none."""
        try:
            return self._session.send(calls.shadow(name))
        except BackendError as error:
            if error.code == "no_shadow":
                return None
            raise

    def set_shadow(self, name: str, version: int, share: float = 1.0) -> Shadow:
        """Let a version classify a `share` of the images, and return the comparison so far.

        The version must not be active; responses do not contain its answers. `share` is in (0, 1].
        If the version is the shadow already, only the share changes. BackendError has the status
        404 if there is no such version or the backend has no history, and 409 if the version is
        active.
        """
        return self._session.send(calls.set_shadow(name, version, share))

    def remove_shadow(self, name: str) -> None:
        """End the shadow of a taught model; do nothing if it has none."""
        self._session.send(calls.remove_shadow(name))

    def delete_model(self, name: str) -> None:
        """Delete a taught model with all its versions."""
        self._session.send(calls.delete_model(name))

    def export_model(self, name: str, *, softmax: bool = False, temperature: bool = False) -> bytes:
        """Return a taught model as a zip with an ONNX graph of the backbone and the head.

        The graph returns logits; with `temperature` calibrated logits, and with `softmax`
        probabilities.
        """
        return self._session.send(
            calls.export_model(name, softmax=softmax, temperature=temperature)
        )

    def model_folder(self, name: str) -> bytes:
        """Return the files of a taught model, NAME or NAME@VERSION, as a zip."""
        return self._session.send(calls.model_folder(name))
