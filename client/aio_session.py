"""Asynchronous HTTP session of the client, with httpx2."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Any, TypeVar

try:
    import httpx2
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
        "AsyncClient needs httpx2; run: pip install 'prism-classify-client[async]'"
    ) from error

from .calls import BatchCall, BatchReader, Call
from .errors import BackendUnreachable, ClientError, InvalidResponse
from .parsing import parse_error
from .retry import MAX_RETRY_AFTER, Retry
from .session import Timeout
from .tracing import request_span
from .url import base_url, is_loopback, key_headers

T = TypeVar("T")


class AsyncSession:
    """Connections to the backend at `url`; parameters and errors as of Session."""

    def __init__(
        self,
        url: str,
        *,
        api_key: str | None,
        auth: httpx2.Auth | None,
        timeout: Timeout,
        max_attempts: int = 1,
    ) -> None:
        self.url = base_url(url)
        self._max_attempts = max_attempts
        connect_timeout, read_timeout = timeout
        self._http = httpx2.AsyncClient(
            auth=auth,
            headers=key_headers(api_key),
            cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),
            timeout=httpx2.Timeout(read_timeout, connect=connect_timeout, pool=None),
            # Requests to the local machine must not go through an internet proxy.
            trust_env=not is_loopback(self.url),
        )

    async def close(self) -> None:
        """Close all connections."""
        await self._http.aclose()

    async def send(self, call: Call[T]) -> T:
        """Send a call and return its result; retry it after temporary errors."""
        retry = Retry(max_attempts=self._max_attempts, max_retry_after=MAX_RETRY_AFTER)
        while True:
            try:
                return await self.send_once(call)
            except ClientError as error:
                delay = None if call.has_unknown_outcome(error) else retry.next_delay(error)
                if delay is None:
                    raise
                await asyncio.sleep(delay)

    async def send_once(self, call: Call[T]) -> T:
        """Send a call and return its result."""
        async with self.request(
            call.method, call.path, params=call.query, files=call.files, json=call.json
        ) as response:
            return call.parse(await response.aread())

    async def stream(self, call: BatchCall[T]) -> AsyncIterator[T]:
        """Send a batch; yield its results as they arrive."""
        if not call.files:
            return
        reader = BatchReader(call)
        async with self.request("POST", call.path, params=call.query, files=call.parts) as response:
            async for chunk in response.aiter_bytes():
                for result in reader.feed(chunk):
                    yield result
        for result in reader.finish():
            yield result

    @asynccontextmanager
    async def request(
        self, method: str, path: str, **options: Any
    ) -> AsyncIterator[httpx2.Response]:
        """Yield a streaming response; translate the exceptions of httpx2."""
        try:
            with request_span(method, path) as span:
                stream = self._http.stream(method, self.url + path, headers=span.headers, **options)
                async with stream as response:
                    span.respond(response.status_code, response.headers)
                    if (status := response.status_code) >= httpx2.codes.MULTIPLE_CHOICES:
                        body = await response.aread()
                        raise parse_error(status, response.reason_phrase, response.headers, body)
                    yield response
        except httpx2.TimeoutException as exc:
            raise BackendUnreachable(self.url, timed_out=True) from exc
        except httpx2.DecodingError as exc:
            raise InvalidResponse("the response cannot be decompressed") from exc
        except (httpx2.RequestError, httpx2.InvalidURL) as exc:
            raise BackendUnreachable(self.url) from exc
