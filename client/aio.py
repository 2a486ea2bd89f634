"""Asynchronous client of the backend; needs httpx2: pip install 'prism-classify-client[async]'.

async with AsyncClient("http://localhost:8000") as client:
    classification = await client.classify(content, filename="seven.jpg")
"""

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import calls
from .aio_history import AsyncHistory
from .aio_session import AsyncSession
from .client import CONNECT_TIMEOUT, READ_TIMEOUT
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

if TYPE_CHECKING:
    import httpx2


class AsyncClient:
    """Asynchronous client of the backend at `url`; parameters, methods and errors as of Client.

    `auth` is one of httpx2's.
    """

    def __init__(
        self,
        url: str,
        *,
        api_key: str | None = None,
        auth: "httpx2.Auth | None" = None,
        connect_timeout: float = CONNECT_TIMEOUT,
        read_timeout: float = READ_TIMEOUT,
        max_attempts: int = 1,
    ) -> None:
        self._session = AsyncSession(
            url,
            api_key=api_key,
            auth=auth,
            timeout=(connect_timeout, read_timeout),
            max_attempts=max_attempts,
        )
        self.url = self._session.url
        self.history = AsyncHistory(self._session)

    async def __aenter__(self) -> "AsyncClient":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close all connections."""
        await self._session.close()

    async def classify(
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
        """Classify one image file, as Client.classify does."""
        return await self._session.send(
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
    ) -> AsyncIterator[Classification | ItemError]:
        """Classify (file name, content) pairs, as Client.classify_batch does."""
        return self._session.stream(
            calls.classify_batch(images, model=model, top_k=top_k, coverage=coverage, store=store)
        )

    async def classify_files(
        self,
        paths: Iterable[Path],
        *,
        model: str | None = None,
        top_k: int | None = None,
        coverage: float | None = None,
        store: bool = True,
        max_attempts: int = MAX_ATTEMPTS,
        on_wait: OnWait = ignore_wait,
    ) -> AsyncIterator[FileResult]:
        """Classify image files, as Client.classify_files does; threads read the files."""
        batches = read_batches(paths)
        while batch := await asyncio.to_thread(next, batches, None):
            pending = PendingBatch(batch, max_attempts, on_wait)
            while files := pending.next_request():
                results: list[Classification | ItemError] = []
                error: ClientError | None = None
                try:
                    async for result in self.classify_batch(
                        files, model=model, top_k=top_k, coverage=coverage, store=store
                    ):
                        results.append(result)  # noqa: PERF401 (keeps what arrives before an error)
                except ClientError as exc:
                    error = exc
                await asyncio.sleep(pending.update(results, error))
            for path_and_result in pending.results():
                yield path_and_result

    def classify_folder(self, folder: Path, **options: Any) -> AsyncIterator[FileResult]:
        """Classify all images below `folder`, as Client.classify_folder does."""
        require_folder(folder)
        return self.classify_files(find_images(folder), **options)

    async def models(self) -> Models:
        """Return all served models."""
        return await self._session.send(calls.models())

    async def model(self, name: str) -> ModelCard:
        """Return a served model with its model card."""
        return await self._session.send(calls.model(name))

    async def ready(self) -> bool:
        """Return whether the default model is ready; the backend responds with 503 until it is."""
        try:
            await self._session.send_once(calls.ready())
        except BackendError as error:
            if error.status == HTTPStatus.SERVICE_UNAVAILABLE:
                return False
            raise
        return True

    async def info(self) -> ServiceInfo:
        """Return the name and the version of the service."""
        return await self._session.send(calls.info())

    def embed(
        self, files: Sequence[tuple[str, bytes]], model: str = "photos"
    ) -> AsyncIterator[Embedding | ItemError]:
        """Embed (file name, content) pairs, as Client.embed does."""
        return self._session.stream(calls.embed(files, model))

    async def put_model(
        self,
        name: str,
        manifest: Mapping[str, Any],
        head: bytes,
        card: str | None = None,
        reason: str | None = None,
        activate: bool = True,
    ) -> ModelVersion:
        """Upload a version of a taught model, as Client.put_model does."""
        return await self._session.send(
            calls.put_model(name, manifest, head, card, reason, activate)
        )

    async def versions(self, name: str) -> ModelVersions:
        """Return the stored versions of a taught model."""
        return await self._session.send(calls.versions(name))

    async def activate(self, name: str, version: int) -> ModelVersion:
        """Serve a stored version of a taught model from now on."""
        return await self._session.send(calls.activate(name, version))

    async def delete_version(self, name: str, version: int) -> None:
        """Delete a stored version; BackendError has the status 409 if it is the active one."""
        await self._session.send(calls.delete_version(name, version))

    async def shadow(self, name: str) -> Shadow | None:
        """Return the shadow of a taught model with its results; None if it has none."""
        try:
            return await self._session.send(calls.shadow(name))
        except BackendError as error:
            if error.code == "no_shadow":
                return None
            raise

    async def set_shadow(self, name: str, version: int, share: float = 1.0) -> Shadow:
        """Let a version that is not active classify a `share` of the images, as Client does."""
        return await self._session.send(calls.set_shadow(name, version, share))

    async def remove_shadow(self, name: str) -> None:
        """End the shadow of a taught model; do nothing if it has none."""
        await self._session.send(calls.remove_shadow(name))

    async def delete_model(self, name: str) -> None:
        """Delete a taught model with all its versions."""
        await self._session.send(calls.delete_model(name))

    async def export_model(
        self, name: str, *, softmax: bool = False, temperature: bool = False
    ) -> bytes:
        """Return a taught model as a zip, as Client.export_model does."""
        return await self._session.send(
            calls.export_model(name, softmax=softmax, temperature=temperature)
        )

    async def model_folder(self, name: str) -> bytes:
        """Return the files of a taught model as a zip, as Client.model_folder does."""
        return await self._session.send(calls.model_folder(name))
