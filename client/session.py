"""HTTP session of the client: connections, timeouts, and exceptions as errors of the client."""

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from http.cookiejar import DefaultCookiePolicy

import requests
from requests.adapters import HTTPAdapter
from requests.auth import AuthBase

from client.errors import BackendError, BackendUnreachable, InvalidResponse
from client.parsing import parse_object, parse_problem
from client.url import base_url, is_loopback

MAX_POOLED_CONNECTIONS = 32  # further threads open temporary connections

Part = tuple[str, tuple[str, bytes, str]]
Timeout = tuple[float, float]  # s to connect, and between two chunks of the response


class Session:
    """Connections to the backend at `url`, safe to share between threads.

    `timeout` is used for requests without one of their own. Raise ValueError if `url` is not an
    http(s) URL or `api_key` has invalid characters.
    """

    def __init__(
        self, url: str, *, api_key: str | None, auth: AuthBase | None, timeout: Timeout
    ) -> None:
        self.url = base_url(url)
        self._timeout = timeout
        self._session = requests.Session()
        self._session.auth = auth
        self._session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
        for scheme in ("http://", "https://"):
            self._session.mount(scheme, HTTPAdapter(pool_maxsize=MAX_POOLED_CONNECTIONS))
        if key := (api_key or "").strip():
            if not re.fullmatch("[!-~]+", key):
                raise ValueError(
                    "an API key must consist of printable ASCII characters without spaces"
                )
            # Not `Authorization`: `auth` may need that header.
            self._session.headers["X-API-Key"] = key
        # Requests to the local machine must not go through an internet proxy.
        self._session.trust_env = not is_loopback(self.url)

    def close(self) -> None:
        """Close all connections."""
        self._session.close()

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
            with self._session.request(
                method,
                self.url + path,
                params=query,
                files=files,
                json=json,
                timeout=timeout or self._timeout,
                allow_redirects=False,  # a redirected POST would lose its body
                stream=True,
            ) as response:
                if response.status_code >= requests.codes.multiple_choices:
                    raise _backend_error(response)
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


def _backend_error(response: requests.Response) -> BackendError:
    if response.is_redirect:
        return BackendError(
            status=response.status_code,
            title="Redirected",
            detail=f"The backend redirects to {response.headers.get('Location', '')}",
        )
    try:
        problem = parse_object(response.content)
    except InvalidResponse:
        problem = {"title": response.reason or ""}
    problem.setdefault("request_id", response.headers.get("X-Request-ID"))
    retry_after = response.headers.get("Retry-After", "")
    return parse_problem(
        problem,
        status=response.status_code,
        retry_after=float(retry_after) if retry_after.isascii() and retry_after.isdigit() else None,
    )
