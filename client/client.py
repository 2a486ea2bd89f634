"""Client of the backend: one session, timeouts and typed responses."""

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from http.cookiejar import DefaultCookiePolicy
from urllib.parse import quote

import requests
from requests.adapters import HTTPAdapter
from requests.auth import AuthBase

from client.errors import BackendError, BackendUnreachable, InvalidResponse
from client.history import History
from client.parsing import (
    Object,
    parse_card,
    parse_classification,
    parse_info,
    parse_item,
    parse_models,
    parse_object,
    parse_problem,
)
from client.types import Classification, ItemError, ModelCard, Models, ServiceInfo
from client.url import base_url, is_loopback

CONNECT_TIMEOUT = 3.05  # s, just above the 3 s after which TCP retransmits a SYN
READ_TIMEOUT = 30.0  # s
MAX_POOLED_CONNECTIONS = 32  # further threads open temporary connections

Part = tuple[str, tuple[str, bytes, str]]
Timeout = tuple[float, float]  # s to connect, and between two chunks of the response


class Client:
    """Client of the backend at `url`, safe to share between threads.

    `connect_timeout` and `read_timeout` are in seconds; the latter bounds the time between two
    chunks of a response. `api_key` is the key of the backend; `auth` authenticates against a proxy
    in front of it, for example Cloud Run. Raise ValueError if `url` is not an http(s) URL or
    `api_key` has invalid characters. All methods raise only BackendUnreachable, BackendError and
    InvalidResponse.
    """

    def __init__(
        self,
        url: str,
        *,
        api_key: str | None = None,
        auth: AuthBase | None = None,
        connect_timeout: float = CONNECT_TIMEOUT,
        read_timeout: float = READ_TIMEOUT,
    ) -> None:
        self.url = base_url(url)
        self._timeout = (connect_timeout, read_timeout)
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
        self.history = History(self._request)
        # Requests to the local machine must not go through an internet proxy.
        self._session.trust_env = not is_loopback(self.url)

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
        with self._request(
            "POST",
            "/classify",
            query=_query(model, top_k, coverage, store)
            | ({"model_input": "true"} if model_input else {})
            | ({"explain": "true"} if explain else {}),
            files=[_part(filename, image)],
        ) as response:
            return parse_classification(_json(response), filename)

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
        if not images:
            return
        names = [name for name, _ in images]
        with self._request(
            "POST",
            "/classify/batch",
            query=_query(model, top_k, coverage, store),
            files=[_part(name, content) for name, content in images],
        ) as response:
            received = 0
            for line in response.iter_lines():
                if not line.strip():
                    continue
                if received == len(names):
                    raise InvalidResponse("more results than images")
                yield parse_item(parse_object(line), names[received])
                received += 1
        if received < len(names):
            raise InvalidResponse(f"{len(names)} images, but only {received} results")

    def models(self, *, timeout: Timeout | None = None) -> Models:
        """Return all served models; `timeout` replaces the connect and the read timeout."""
        with self._request("GET", "/models", timeout=timeout) as response:
            return parse_models(_json(response))

    def model(self, name: str) -> ModelCard:
        """Return a served model with its model card."""
        with self._request("GET", f"/models/{quote(name, safe='')}") as response:
            return parse_card(_json(response))

    def ready(self) -> bool:
        """Return whether the default model is ready; the backend responds with 503 until it is."""
        try:
            with self._request("GET", "/ready"):
                return True
        except BackendError as error:
            if error.status == requests.codes.service_unavailable:
                return False
            raise

    def info(self) -> ServiceInfo:
        """Return the name and the version of the service."""
        with self._request("GET", "/") as response:
            return parse_info(_json(response))

    @contextmanager
    def _request(
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


def _query(
    model: str | None, top_k: int | None, coverage: float | None, store: bool
) -> dict[str, str]:
    query = {
        "model": model,
        "top_k": top_k,
        "coverage": coverage,
        "store": None if store else "false",
    }
    return {key: str(value) for key, value in query.items() if value is not None}


def _part(filename: str, content: bytes) -> Part:
    """Return a form part; the backend detects the media type from the content."""
    printable = "".join(c if c.isprintable() else "_" for c in filename)
    name = printable.encode("utf-8", "replace").decode("utf-8") or "image"
    return ("file", (name, content, "application/octet-stream"))


def _json(response: requests.Response) -> Object:
    return parse_object(response.content)


def _backend_error(response: requests.Response) -> BackendError:
    if response.is_redirect:
        return BackendError(
            status=response.status_code,
            title="Redirected",
            detail=f"The backend redirects to {response.headers.get('Location', '')}",
        )
    try:
        problem = _json(response)
    except InvalidResponse:
        problem = {"title": response.reason or ""}
    problem.setdefault("request_id", response.headers.get("X-Request-ID"))
    retry_after = response.headers.get("Retry-After", "")
    return parse_problem(
        problem,
        status=response.status_code,
        retry_after=float(retry_after) if retry_after.isascii() and retry_after.isdigit() else None,
    )
