"""The client: one session, bounded waiting, typed answers."""

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from http.cookiejar import DefaultCookiePolicy
from urllib.parse import quote

import requests
from requests.adapters import HTTPAdapter
from requests.auth import AuthBase

from client.errors import BackendError, BackendUnreachable, InvalidAnswer
from client.fields import Object, parse_object
from client.history import History
from client.parsing import (
    parse_card,
    parse_classification,
    parse_info,
    parse_item,
    parse_models,
    parse_problem,
)
from client.types import Classification, Info, ItemError, ModelCard, Models
from client.url import base_url, is_loopback

CONNECT_TIMEOUT = 3.05  # just above the 3 s after which TCP sends a lost first packet again
READ_TIMEOUT = 30.0
CONNECTIONS = 32  # kept open; threads beyond that open one of their own

Part = tuple[str, tuple[str, bytes, str]]


class Client:
    """Asks the backend at `url`. Safe to share between threads: it keeps no state but its pool.

    `connect_timeout` and `read_timeout` are in seconds; the latter bounds the silence between two
    pieces of an answer. `api_key` is sent where the backend asks for one; `auth` opens the way to a
    backend that something else guards, with a header of its own. Raises ValueError where
    `url` is not an http(s) address or the key cannot be one. Every method raises
    BackendUnreachable, BackendError or InvalidAnswer, and nothing else.
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
            self._session.mount(scheme, HTTPAdapter(pool_maxsize=CONNECTIONS))
        if key := (api_key or "").strip():
            if not re.fullmatch("[!-~]+", key):
                raise ValueError("an API key has no spaces, and no letters beyond ASCII")
            # Not `Authorization`: that may have to open the way to the backend itself.
            self._session.headers["X-API-Key"] = key
        self.history = History(self._answer)
        # A proxy meant for the internet must not be asked for this very machine.
        self._session.trust_env = not is_loopback(self.url)

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Give the connections back."""
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
        store: bool = True,
    ) -> Classification:
        """Classify one image, given as the bytes of an image file.

        `coverage` is the share of answers whose prediction set should hold the right label: 0.9,
        0.95 (what None means) or 0.99. With `model_input` the answer has what the model was given.
        Without `store` it is not kept in the backend's history.
        """
        with self._answer(
            "POST",
            "/classify",
            query=_query(model, top_k, coverage, store)
            | ({"model_input": "true"} if model_input else {}),
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
        """Classify (file name, bytes) pairs: one result for each, in order, as each is ready.

        A bad image is an ItemError and the others succeed. An answer that ends early raises
        InvalidAnswer after the results that did arrive.
        """
        if not images:
            return
        names = [name for name, _ in images]
        with self._answer(
            "POST",
            "/classify/batch",
            query=_query(model, top_k, coverage, store),
            files=[_part(name, content) for name, content in images],
        ) as response:
            arrived = 0
            for line in response.iter_lines():
                if not line.strip():
                    continue
                if arrived == len(names):
                    raise InvalidAnswer("more results than images")
                yield parse_item(parse_object(line), names[arrived])
                arrived += 1
        if arrived < len(names):
            raise InvalidAnswer(f"{len(names)} images, but only {arrived} results")

    def models(self) -> Models:
        """Return what is served."""
        with self._answer("GET", "/models") as response:
            return parse_models(_json(response))

    def model(self, name: str) -> ModelCard:
        """Return one of the served models, with its card."""
        with self._answer("GET", f"/models/{quote(name, safe='')}") as response:
            return parse_card(_json(response))

    def ready(self) -> bool:
        """Tell whether the default model answers; while it does not, the backend says 503."""
        try:
            with self._answer("GET", "/ready"):
                return True
        except BackendError as error:
            if error.status == requests.codes.service_unavailable:
                return False
            raise

    def info(self) -> Info:
        """Return the name and the version of the service."""
        with self._answer("GET", "/") as response:
            return parse_info(_json(response))

    @contextmanager
    def _answer(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        files: Sequence[Part] | None = None,
        json: object = None,
    ) -> Iterator[requests.Response]:
        """Yield a good response, still streaming; translate what requests raises meanwhile."""
        try:
            with self._session.request(
                method,
                self.url + path,
                params=query,
                files=files,
                json=json,
                timeout=self._timeout,
                allow_redirects=False,  # a redirected POST would lose its body
                stream=True,
            ) as response:
                if response.status_code >= requests.codes.multiple_choices:
                    raise _refusal(response)
                yield response
        except requests.Timeout as exc:
            raise BackendUnreachable(self.url, timed_out=True) from exc
        except requests.exceptions.ContentDecodingError as exc:
            raise InvalidAnswer("the answer cannot be decompressed") from exc
        except requests.RequestException as exc:
            raise BackendUnreachable(self.url, timed_out=_timed_out(exc)) from exc


def _timed_out(error: requests.RequestException) -> bool:
    """Tell whether silence in mid-answer is behind `error`: requests calls it no time-out."""
    return "read timed out" in str(error).lower()


def _query(
    model: str | None, top_k: int | None, coverage: float | None, store: bool
) -> dict[str, str]:
    kept = None if store else "false"
    query = {"model": model, "top_k": top_k, "coverage": coverage, "store": kept}
    return {key: str(value) for key, value in query.items() if value is not None}


def _part(filename: str, content: bytes) -> Part:
    """Make a form part; the backend judges the content, so the type we state says nothing."""
    printable = "".join(c if c.isprintable() else "_" for c in filename)
    name = printable.encode("utf-8", "replace").decode("utf-8") or "image"
    return ("file", (name, content, "application/octet-stream"))


def _json(response: requests.Response) -> Object:
    return parse_object(response.content)


def _refusal(response: requests.Response) -> BackendError:
    if response.is_redirect:
        return BackendError(
            status=response.status_code,
            title="Redirected",
            detail=f"The backend is elsewhere: {response.headers.get('Location', '')}",
        )
    try:
        problem = _json(response)
    except InvalidAnswer:
        problem = {"title": response.reason or ""}
    problem.setdefault("request_id", response.headers.get("X-Request-ID"))
    wait = response.headers.get("Retry-After", "")
    return parse_problem(
        problem,
        status=response.status_code,
        retry_after=float(wait) if wait.isascii() and wait.isdigit() else None,
    )
