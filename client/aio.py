"""Asynchronous client of the backend; needs httpx2: pip install 'prism-classify-client[async]'.

async with AsyncClient("http://localhost:8000") as client:
    classification = await client.classify(content, filename="seven.jpg")
"""

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from http.cookiejar import CookieJar, DefaultCookiePolicy
from pathlib import Path
from typing import Any, TypeVar

try:
    import httpx2
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
        "AsyncClient needs httpx2; run: pip install 'prism-classify-client[async]'"
    ) from error

from . import calls
from .calls import BatchCall, BatchReader, Call
from .client import CONNECT_TIMEOUT, READ_TIMEOUT
from .errors import BackendError, BackendUnreachable, ClientError, InvalidResponse
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
from .parsing import parse_error
from .retry import Retry
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
from .url import base_url, is_loopback, key_headers

T = TypeVar("T")


class AsyncClient:
    """Asynchronous client of the backend at `url`; parameters, methods and errors as of Client.

    `auth` is one of httpx2's. The history and the shadows of models are those of Client only.
    """

    def __init__(
        self,
        url: str,
        *,
        api_key: str | None = None,
        auth: httpx2.Auth | None = None,
        connect_timeout: float = CONNECT_TIMEOUT,
        read_timeout: float = READ_TIMEOUT,
        max_attempts: int = 1,
    ) -> None:
        self.url = base_url(url)
        self._max_attempts = max_attempts
        self._http = httpx2.AsyncClient(
            auth=auth,
            headers=key_headers(api_key),
            cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),
            timeout=httpx2.Timeout(read_timeout, connect=connect_timeout, pool=None),
            # Requests to the local machine must not go through an internet proxy.
            trust_env=not is_loopback(self.url),
        )

    async def __aenter__(self) -> "AsyncClient":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close all connections."""
        await self._http.aclose()

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
        return await self._send(
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
        return self._stream(
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
        return await self._send(calls.models())

    async def model(self, name: str) -> ModelCard:
        """Return a served model with its model card."""
        return await self._send(calls.model(name))

    async def ready(self) -> bool:
        """Return whether the default model is ready; the backend responds with 503 until it is."""
        try:
            await self._send_once(calls.ready())
        except BackendError as error:
            if error.status == httpx2.codes.SERVICE_UNAVAILABLE:
                return False
            raise
        return True

    async def info(self) -> ServiceInfo:
        """Return the name and the version of the service."""
        return await self._send(calls.info())

    def embed(
        self, files: Sequence[tuple[str, bytes]], model: str = "photos"
    ) -> AsyncIterator[Embedding | ItemError]:
        """Embed (file name, content) pairs, as Client.embed does."""
        return self._stream(calls.embed(files, model))

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
        return await self._send(calls.put_model(name, manifest, head, card, reason, activate))

    async def versions(self, name: str) -> ModelVersions:
        """Return the stored versions of a taught model."""
        return await self._send(calls.versions(name))

    async def activate(self, name: str, version: int) -> ModelVersion:
        """Serve a stored version of a taught model from now on."""
        return await self._send(calls.activate(name, version))

    async def delete_version(self, name: str, version: int) -> None:
        """Delete a stored version; BackendError has the status 409 if it is the active one."""
        await self._send(calls.delete_version(name, version))

    async def delete_model(self, name: str) -> None:
        """Delete a taught model with all its versions."""
        await self._send(calls.delete_model(name))

    async def export_model(
        self, name: str, *, softmax: bool = False, temperature: bool = False
    ) -> bytes:
        """Return a taught model as a zip, as Client.export_model does."""
        return await self._send(calls.export_model(name, softmax=softmax, temperature=temperature))

    async def _send(self, call: Call[T]) -> T:
        """Send a call and return its result; retry it after temporary errors."""
        retry = Retry(max_attempts=self._max_attempts)
        while True:
            try:
                return await self._send_once(call)
            except ClientError as error:
                delay = retry.next_delay(error)
                if delay is None:
                    raise
                await asyncio.sleep(delay)

    async def _send_once(self, call: Call[T]) -> T:
        async with self._request(
            call.method, call.path, params=call.query, files=call.files, json=call.json
        ) as response:
            return call.parse(await response.aread())

    async def _stream(self, call: BatchCall[T]) -> AsyncIterator[T]:
        """Send a batch; yield its results as they arrive."""
        if not call.files:
            return
        reader = BatchReader(call)
        async with self._request(
            "POST", call.path, params=call.query, files=call.parts
        ) as response:
            async for chunk in response.aiter_bytes():
                for result in reader.feed(chunk):
                    yield result
        for result in reader.finish():
            yield result

    @asynccontextmanager
    async def _request(
        self, method: str, path: str, **options: Any
    ) -> AsyncIterator[httpx2.Response]:
        """Yield a streaming response; translate the exceptions of httpx2."""
        try:
            async with self._http.stream(method, self.url + path, **options) as response:
                if (status := response.status_code) >= httpx2.codes.MULTIPLE_CHOICES:
                    body = await response.aread()
                    raise parse_error(status, response.reason_phrase, response.headers, body)
                yield response
        except httpx2.TimeoutException as exc:
            raise BackendUnreachable(self.url, timed_out=True) from exc
        except httpx2.DecodingError as exc:
            raise InvalidResponse("the response cannot be decompressed") from exc
        except httpx2.RequestError as exc:
            raise BackendUnreachable(self.url) from exc
