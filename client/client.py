"""Client of the backend: one method per request, with typed responses."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeVar
from urllib.parse import quote

import requests
from requests.auth import AuthBase

from client.errors import BackendError, InvalidResponse
from client.history import History
from client.parsing import (
    Object,
    parse_card,
    parse_classification,
    parse_embedding,
    parse_info,
    parse_item,
    parse_models,
    parse_object,
    parse_version,
    parse_versions,
)
from client.session import Part, Session, Timeout
from client.shadow import Shadow, parse_shadow
from client.types import (
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

T = TypeVar("T")


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
        timeout = (connect_timeout, read_timeout)
        self._session = Session(url, api_key=api_key, auth=auth, timeout=timeout)
        self.url = self._session.url
        self.history = History(self._session.request)

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
        with self._session.request(
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
        query = _query(model, top_k, coverage, store)
        return self._results("/classify/batch", query, images, parse_item)

    def models(self, *, timeout: Timeout | None = None) -> Models:
        """Return all served models; `timeout` replaces the connect and the read timeout."""
        with self._session.request("GET", "/models", timeout=timeout) as response:
            return parse_models(_json(response))

    def model(self, name: str) -> ModelCard:
        """Return a served model with its model card."""
        with self._session.request("GET", _path(name)) as response:
            return parse_card(_json(response))

    def ready(self) -> bool:
        """Return whether the default model is ready; the backend responds with 503 until it is."""
        try:
            with self._session.request("GET", "/ready"):
                return True
        except BackendError as error:
            if error.status == requests.codes.service_unavailable:
                return False
            raise

    def info(self) -> ServiceInfo:
        """Return the name and the version of the service."""
        with self._session.request("GET", "/") as response:
            return parse_info(_json(response))

    def embed(
        self, files: Sequence[tuple[str, bytes]], model: str = "photos"
    ) -> Iterator[Embedding | ItemError]:
        """Embed (file name, content) pairs; yield one result per image, in order.

        `model` is the backbone, or a model taught on it. The result of an invalid image is an
        ItemError. If the response ends early, raise InvalidResponse after the results that arrived.
        """
        return self._results("/embed", {"model": model}, files, parse_embedding)

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
        parts: list[Part] = [
            ("manifest", ("manifest.json", json.dumps(manifest).encode(), "application/json")),
            ("head", ("head.safetensors", head, "application/octet-stream")),
        ]
        if card is not None:
            parts.append(("card", ("README.md", card.encode(), "text/markdown; charset=utf-8")))
        query = {} if activate else {"activate": "false"}
        if reason is not None:
            query["reason"] = reason
        with self._session.request("PUT", _path(name), query=query, files=parts) as response:
            return parse_version(_json(response))

    def versions(self, name: str) -> ModelVersions:
        """Return the stored versions of a taught model."""
        with self._session.request("GET", f"{_path(name)}/versions") as response:
            return parse_versions(_json(response))

    def activate(self, name: str, version: int) -> ModelVersion:
        """Serve a stored version of a taught model from now on."""
        path = f"{_path(name)}/versions/{version}/activate"
        with self._session.request("POST", path) as response:
            return parse_version(_json(response))

    def delete_version(self, name: str, version: int) -> None:
        """Delete a stored version; BackendError has the status 409 if it is the active one."""
        with self._session.request("DELETE", f"{_path(name)}/versions/{version}"):
            pass

    def shadow(self, name: str) -> Shadow | None:
        """Return the shadow of a taught model with its results; None if it has none."""
        try:
            with self._session.request("GET", f"{_path(name)}/shadow") as response:
                return parse_shadow(_json(response))
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
        body = {"version": version, "share": share}
        with self._session.request("PUT", f"{_path(name)}/shadow", json=body) as response:
            return parse_shadow(_json(response))

    def remove_shadow(self, name: str) -> None:
        """End the shadow of a taught model; do nothing if it has none."""
        with self._session.request("DELETE", f"{_path(name)}/shadow"):
            pass

    def delete_model(self, name: str) -> None:
        """Delete a taught model with all its versions."""
        with self._session.request("DELETE", _path(name)):
            pass

    def export_model(self, name: str, *, softmax: bool = False, temperature: bool = False) -> bytes:
        """Return a taught model as a zip with an ONNX graph of the backbone and the head.

        The graph returns logits; with `temperature` calibrated logits, and with `softmax`
        probabilities.
        """
        options = {"softmax": softmax, "temperature": temperature}
        query = {option: "true" for option, is_set in options.items() if is_set}
        with self._session.request("GET", f"{_path(name)}/export", query=query) as response:
            return response.content

    def model_folder(self, name: str) -> bytes:
        """Return the files of a taught model, NAME or NAME@VERSION, as a zip."""
        query = {"format": "folder"}
        with self._session.request("GET", f"{_path(name)}/export", query=query) as response:
            return response.content

    def _results(
        self,
        path: str,
        query: Mapping[str, str],
        files: Sequence[tuple[str, bytes]],
        parse: Callable[[Object, str | None], T],
    ) -> Iterator[T]:
        """Send files in one request; yield a result per line of the response."""
        if not files:
            return
        parts = [_part(name, content) for name, content in files]
        received = 0
        with self._session.request("POST", path, query=query, files=parts) as response:
            for line in response.iter_lines():
                if not line.strip():
                    continue
                if received == len(files):
                    raise InvalidResponse("more results than images")
                yield parse(parse_object(line), files[received][0])
                received += 1
        if received < len(files):
            raise InvalidResponse(f"{len(files)} images, but only {received} results")


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


def _path(model: str) -> str:
    return f"/models/{quote(model, safe='')}"
