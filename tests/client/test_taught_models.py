"""Requests of the client for embeddings and for versions of taught models."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from client import Backbone, BackendError, Client, Embedding, InvalidResponse, ItemError, ModelRef
from tests.client.fake_server import FakeResponse, serving

VERSION: dict[str, Any] = {
    "name": "ants",
    "version": 3,
    "created": "2026-03-01T10:00:00Z",
    "author": "ana",
    "reason": "More images",
    "active": True,
    "metrics": {"accuracy": 0.96},
    "labels": ["ant", "bee"],
    "unknown field": 1,
}
EMBEDDING: dict[str, Any] = {
    "filename": "a.png",
    "embedding": [0.6, 0.8],
    "model": {"name": "photos", "version": "1"},
    "backbone": {"name": "photos", "sha256": "ab"},
}
PROBLEM = {"filename": "b.png", "status": 415, "code": "unsupported_image", "detail": "No image."}


def answer(value: object, status: int = 200) -> FakeResponse:
    return FakeResponse(json.dumps(value).encode(), status)


def ndjson(*lines: object) -> FakeResponse:
    return FakeResponse(b"".join(json.dumps(line).encode() + b"\n" for line in lines))


def test_embeddings_keep_the_order_and_an_invalid_image_fails_alone() -> None:
    with serving(ndjson(EMBEDDING, PROBLEM)) as (url, received), Client(url) as client:
        first, second = client.embed([("a.png", b"A"), ("b.png", b"B")])
    assert first == Embedding(
        filename="a.png",
        embedding=(0.6, 0.8),
        model=ModelRef("photos", "1"),
        backbone=Backbone("photos", "ab"),
    )
    assert isinstance(second, ItemError)
    assert (second.filename, second.error.code) == ("b.png", "unsupported_image")
    (request,) = received
    assert (request.method, request.path) == ("POST", "/embed?model=photos")
    assert request.body.count(b'name="file"') == 2


@pytest.mark.parametrize("line", [EMBEDDING | {"embedding": [None]}, EMBEDDING | {"backbone": 1}])
def test_invalid_embedding_raises_invalid_response(line: object) -> None:
    with serving(ndjson(line)) as (url, _), Client(url) as client, pytest.raises(InvalidResponse):
        list(client.embed([("a.png", b"A")]))


def test_missing_embeddings_raise_invalid_response() -> None:
    with serving(ndjson(EMBEDDING)) as (url, _), Client(url) as client:
        results = client.embed([("a.png", b"A"), ("b.png", b"B")], model="ants")
        next(results)
        with pytest.raises(InvalidResponse, match="2 images, but only 1"):
            next(results)


def test_model_is_uploaded_in_parts() -> None:
    with serving(answer(VERSION, 201)) as (url, received), Client(url) as client:
        version = client.put_model(
            "my ants", {"labels": ["Ameise", "Bär"]}, b"HEAD", "# Käfer", "More", activate=False
        )
        client.put_model("ants", {}, b"HEAD")
    assert version.created == datetime(2026, 3, 1, 10, tzinfo=UTC)
    assert (version.name, version.version, version.author) == ("ants", 3, "ana")
    assert (version.reason, version.active) == ("More images", True)
    assert (version.metrics, version.labels) == ({"accuracy": 0.96}, ("ant", "bee"))
    first, second = received
    assert (first.method, first.path) == ("PUT", "/models/my%20ants?activate=false&reason=More")
    assert json.dumps({"labels": ["Ameise", "Bär"]}).encode() in first.body
    assert "# Käfer".encode() in first.body
    assert second.path == "/models/ants"
    assert b'name="head"' in second.body
    assert b'name="card"' not in second.body


def test_versions_are_listed() -> None:
    older = VERSION | {"version": 1, "active": False, "author": None, "reason": None}
    body = {"model": "ants", "active": 3, "versions": [VERSION, older]}
    with serving(answer(body)) as (url, received), Client(url) as client:
        versions = client.versions("ants")
    assert (versions.model, versions.active) == ("ants", 3)
    assert [item.version for item in versions.versions] == [3, 1]
    assert versions.versions[1].author is None
    assert received[0].path == "/models/ants/versions"


def test_version_is_activated() -> None:
    with serving(answer(VERSION)) as (url, received), Client(url) as client:
        assert client.activate("ants", 3).active
    assert (received[0].method, received[0].path) == ("POST", "/models/ants/versions/3/activate")


def test_version_and_model_are_deleted() -> None:
    with serving(FakeResponse(b"", 204)) as (url, received), Client(url) as client:
        client.delete_version("ants", 2)
        client.delete_model("ants")
    assert [(request.method, request.path) for request in received] == [
        ("DELETE", "/models/ants/versions/2"),
        ("DELETE", "/models/ants"),
    ]


def test_reserved_name_raises_409() -> None:
    problem = {"status": 409, "code": "reserved_name", "detail": "photos is reserved."}
    with (
        serving(answer(problem, 409)) as (url, _),
        Client(url) as client,
        pytest.raises(BackendError) as caught,
    ):
        client.put_model("photos", {}, b"HEAD")
    assert (caught.value.status, caught.value.code) == (409, "reserved_name")


def test_export_is_returned_with_its_options() -> None:
    with serving(FakeResponse(b"PK")) as (url, received), Client(url) as client:
        assert client.export_model("ants") == b"PK"
        client.export_model("ants", softmax=True, temperature=True)
    paths = [request.path for request in received]
    assert paths == ["/models/ants/export", "/models/ants/export?softmax=true&temperature=true"]
