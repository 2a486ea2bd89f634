"""The requests of the API and the parsers of their responses, for both clients."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Generic, TypeVar
from urllib.parse import quote

from .errors import BackendError, ClientError, InvalidResponse
from .parsing import (
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
from .shadow import Shadow, parse_shadow
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

T = TypeVar("T")

REFUSED_STATUSES: Final = frozenset({429, 503})  # the backend has not begun to process the request

File = tuple[str, bytes]  # file name and content
Part = tuple[str, tuple[str, bytes, str]]  # field, and file name, content and media type


@dataclass(frozen=True, slots=True)
class Call(Generic[T]):
    """A request, and the function that turns the body of its response into a result."""

    method: str
    path: str
    parse: Callable[[bytes], T]
    query: Mapping[str, str] = field(default_factory=dict)
    files: Sequence[Part] | None = None
    json: object = None
    creates: bool = False  # whether a repetition would create a second object

    def has_unknown_outcome(self, error: ClientError) -> bool:
        """Return whether the request may have created an object although `error` was raised."""
        is_refused = isinstance(error, BackendError) and error.status in REFUSED_STATUSES
        return self.creates and not is_refused


@dataclass(frozen=True, slots=True)
class BatchCall(Generic[T]):
    """A POST request of `files` whose response has one line per file, which `parse` parses."""

    path: str
    query: Mapping[str, str]
    files: Sequence[File]
    parse: Callable[[Object, str | None], T]

    @property
    def parts(self) -> list[Part]:
        """The form parts of the files."""
        return [_part(name, content) for name, content in self.files]


class BatchReader(Generic[T]):
    """Splits the response of a BatchCall into results, as its chunks arrive."""

    def __init__(self, call: BatchCall[T]) -> None:
        self._call = call
        self._rest = b""
        self._count = 0

    def feed(self, chunk: bytes) -> Iterator[T]:
        """Yield the results that are complete with `chunk`; raise InvalidResponse."""
        *lines, self._rest = (self._rest + chunk).split(b"\n")
        for line in lines:
            yield from self._parse(line)

    def finish(self) -> Iterator[T]:
        """Yield the last result; raise InvalidResponse if results are missing."""
        yield from self._parse(self._rest)
        files = len(self._call.files)
        if self._count < files:
            raise InvalidResponse(f"{files} images, but only {self._count} results")

    def _parse(self, line: bytes) -> Iterator[T]:
        if not line.strip():
            return
        if self._count == len(self._call.files):
            raise InvalidResponse("more results than images")
        result = self._call.parse(parse_object(line), self._call.files[self._count][0])
        self._count += 1
        yield result


def classify(
    image: bytes,
    filename: str,
    *,
    model: str | None,
    top_k: int | None,
    coverage: float | None,
    model_input: bool,
    explain: bool,
    store: bool,
) -> Call[Classification]:
    """Return the request that classifies one image."""
    options = {"model_input": model_input, "explain": explain}
    return Call(
        "POST",
        "/classify",
        lambda body: parse_classification(parse_object(body), filename),
        query=_query(model, top_k, coverage, store) | _flags(options),
        files=[_part(filename, image)],
    )


def classify_batch(
    images: Sequence[File],
    *,
    model: str | None,
    top_k: int | None,
    coverage: float | None,
    store: bool,
) -> BatchCall[Classification | ItemError]:
    """Return the request that classifies several images."""
    query = _query(model, top_k, coverage, store)
    return BatchCall("/classify/batch", query, images, parse_item)


def embed(files: Sequence[File], model: str) -> BatchCall[Embedding | ItemError]:
    """Return the request for the features of several images."""
    return BatchCall("/embed", {"model": model}, files, parse_embedding)


def models() -> Call[Models]:
    """Return the request for all served models."""
    return Call("GET", "/models", _json(parse_models))


def model(name: str) -> Call[ModelCard]:
    """Return the request for one served model."""
    return Call("GET", _path(name), _json(parse_card))


def ready() -> Call[None]:
    """Return the request whether the default model is ready; without it the status is 503."""
    return Call("GET", "/ready", _nothing)


def info() -> Call[ServiceInfo]:
    """Return the request for name and version of the service."""
    return Call("GET", "/", _json(parse_info))


def put_model(
    name: str,
    manifest: Mapping[str, Any],
    head: bytes,
    card: str | None,
    reason: str | None,
    activate: bool,
) -> Call[ModelVersion]:
    """Return the request that uploads a version of a taught model."""
    parts: list[Part] = [
        ("manifest", ("manifest.json", json.dumps(manifest).encode(), "application/json")),
        ("head", ("head.safetensors", head, "application/octet-stream")),
    ]
    if card is not None:
        parts.append(("card", ("README.md", card.encode(), "text/markdown; charset=utf-8")))
    query = {} if activate else {"activate": "false"}
    if reason is not None:
        query["reason"] = reason
    return Call("PUT", _path(name), _json(parse_version), query, parts, creates=True)


def versions(name: str) -> Call[ModelVersions]:
    """Return the request for the versions of a taught model."""
    return Call("GET", f"{_path(name)}/versions", _json(parse_versions))


def activate(name: str, version: int) -> Call[ModelVersion]:
    """Return the request that serves a version of a taught model."""
    return Call("POST", f"{_path(name)}/versions/{version}/activate", _json(parse_version))


def delete_version(name: str, version: int) -> Call[None]:
    """Return the request that deletes a version of a taught model."""
    return Call("DELETE", f"{_path(name)}/versions/{version}", _nothing)


def delete_model(name: str) -> Call[None]:
    """Return the request that deletes a taught model."""
    return Call("DELETE", _path(name), _nothing)


def shadow(name: str) -> Call[Shadow]:
    """Return the request for the shadow of a taught model."""
    return Call("GET", f"{_path(name)}/shadow", _json(parse_shadow))


def set_shadow(name: str, version: int, share: float) -> Call[Shadow]:
    """Return the request that sets the shadow of a taught model."""
    body = {"version": version, "share": share}
    return Call("PUT", f"{_path(name)}/shadow", _json(parse_shadow), json=body)


def remove_shadow(name: str) -> Call[None]:
    """Return the request that ends the shadow of a taught model."""
    return Call("DELETE", f"{_path(name)}/shadow", _nothing)


def export_model(name: str, *, softmax: bool, temperature: bool) -> Call[bytes]:
    """Return the request for a taught model as a zip with an ONNX graph."""
    query = _flags({"softmax": softmax, "temperature": temperature})
    return Call("GET", f"{_path(name)}/export", lambda body: body, query)


def model_folder(name: str) -> Call[bytes]:
    """Return the request for the files of a taught model as a zip."""
    return Call("GET", f"{_path(name)}/export", lambda body: body, {"format": "folder"})


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


def _flags(options: Mapping[str, bool]) -> dict[str, str]:
    return {option: "true" for option, is_set in options.items() if is_set}


def _part(filename: str, content: bytes) -> Part:
    """Return a form part; the backend detects the media type from the content."""
    printable = "".join(c if c.isprintable() else "_" for c in filename)
    name = printable.encode("utf-8", "replace").decode("utf-8") or "image"
    return ("file", (name, content, "application/octet-stream"))


def _json(parse: Callable[[Object], T]) -> Callable[[bytes], T]:
    return lambda body: parse(parse_object(body))


def _nothing(_: bytes) -> None:
    return None


def _path(model: str) -> str:
    return f"/models/{quote(model, safe='')}"
