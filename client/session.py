"""HTTP session of the client: connections, timeouts, and exceptions as errors of the client."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from http.cookiejar import DefaultCookiePolicy
from time import sleep
from typing import TypeVar

import requests
from requests.adapters import HTTPAdapter
from requests.auth import AuthBase

from .calls import BatchCall, BatchReader, Call, Part
from .errors import BackendUnreachable, ClientError, InvalidResponse
from .parsing import parse_error
from .retry import MAX_RETRY_AFTER, Retry
from .tracing import request_span
from .url import base_url, is_loopback, key_headers

MAX_POOLED_CONNECTIONS = 32  # further threads open temporary connections

T = TypeVar("T")
Timeout = tuple[float, float]  # s to connect, and between two chunks of the response


class Session:
    """Connections to the backend at `url`, safe to share between threads.

    `timeout` is used for requests without one of their own. A call is sent up to `max_attempts`
    times. Raise ValueError if `url` is not an http(s) URL or `api_key` has invalid characters.
    """

    def __init__(
        self,
        url: str,
        *,
        api_key: str | None,
        auth: AuthBase | None,
        timeout: Timeout,
        max_attempts: int = 1,
    ) -> None:
        self.url = base_url(url)
        self._timeout = timeout
        self._max_attempts = max_attempts
        self._session = requests.Session()
        self._session.auth = auth
        self._session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
        for scheme in ("http://", "https://"):
            self._session.mount(scheme, HTTPAdapter(pool_maxsize=MAX_POOLED_CONNECTIONS))
        self._session.headers.update(key_headers(api_key))
        # Requests to the local machine must not go through an internet proxy.
        self._session.trust_env = not is_loopback(self.url)

    def close(self) -> None:
        """Close all connections."""
        self._session.close()

    def send(self, call: Call[T], timeout: Timeout | None = None) -> T:
        """Send a call and return its result; retry it after temporary errors."""
        retry = Retry(max_attempts=self._max_attempts, max_retry_after=MAX_RETRY_AFTER)
        while True:
            try:
                return self.send_once(call, timeout)
            except ClientError as error:
                delay = None if call.has_unknown_outcome(error) else retry.next_delay(error)
                if delay is None:
                    raise
                sleep(delay)

    def send_once(self, call: Call[T], timeout: Timeout | None = None) -> T:
        """Send a call and return its result."""
        with self.request(
            call.method,
            call.path,
            query=call.query,
            files=call.files,
            json=call.json,
            timeout=timeout,
        ) as response:
            return call.parse(response.content)

    def stream(self, call: BatchCall[T]) -> Iterator[T]:
        """Send a batch; yield its results as they arrive."""
        if not call.files:
            return
        reader = BatchReader(call)
        with self.request("POST", call.path, query=call.query, files=call.parts) as response:
            for chunk in response.iter_content(None):
                yield from reader.feed(chunk)
        yield from reader.finish()

    @contextmanager
    def request(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        files: Sequence[Part] | None = None,
        json: object = None,
        timeout: Timeout | None = None,
    ) -> Iterator[requests.Response]:
        """Yield a streaming response; translate the exceptions of requests."""
        try:
            with (
                request_span(method, path) as span,
                self._session.request(
                    method,
                    self.url + path,
                    params=query,
                    files=files,
                    json=json,
                    headers=span.headers,
                    timeout=timeout or self._timeout,
                    allow_redirects=False,  # a redirected POST would lose its body
                    stream=True,
                ) as response,
            ):
                span.respond(response.status_code, response.headers)
                if (status := response.status_code) >= requests.codes.multiple_choices:
                    reason = response.reason or ""
                    raise parse_error(status, reason, response.headers, response.content)
                yield response
        except requests.Timeout as exc:
            raise BackendUnreachable(self.url, timed_out=True) from exc
        except requests.exceptions.ContentDecodingError as exc:
            raise InvalidResponse("the response cannot be decompressed") from exc
        except requests.RequestException as exc:
            raise BackendUnreachable(self.url, timed_out=_is_read_timeout(exc)) from exc


def _is_read_timeout(error: requests.RequestException) -> bool:
    """Return whether a timeout within the body caused `error`: requests hides its type."""
    return "read timed out" in str(error).lower()
