"""Tests of the features from a served model."""

import threading
from collections.abc import Iterator, Sequence
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from client import (
    Backbone,
    BackendError,
    BackendUnreachable,
    Client,
    Embedding,
    ItemError,
    ModelRef,
)
from teach.errors import TeachCancelled
from teach.served_embedding import ServedEmbedding


class FakeClient:
    """Returns as features the length of each file; `failures` come first."""

    def __init__(self) -> None:
        self.failures: list[Exception | ItemError] = []
        self.requests: list[int] = []

    def model(self, name: str) -> Any:
        return SimpleNamespace(info=SimpleNamespace(version="7"), preprocess={"kind": "image"})

    def embed(
        self, files: Sequence[tuple[str, bytes]], model: str
    ) -> Iterator[Embedding | ItemError]:
        self.requests.append(len(files))
        for name, content in files:
            failure = self.failures.pop(0) if self.failures else None
            if isinstance(failure, Exception):
                raise failure
            if failure is not None:
                yield failure
            elif content == b"text":
                yield item_error(415)
            else:
                values = (float(len(content)), 1.0)
                yield Embedding(name, values, ModelRef(model, "7"), Backbone(model, "ab" * 32))


def item_error(status: int) -> ItemError:
    return ItemError("0", BackendError(status=status, retry_after=0.01))


def create(client: FakeClient, stop: threading.Event | None = None) -> ServedEmbedding:
    return ServedEmbedding(cast(Client, client), "photos", stop)


def test_backbone_is_described_by_the_backend() -> None:
    backbone = create(FakeClient()).backbone
    assert (backbone.name, backbone.version, backbone.sha256) == ("photos", "7", "ab" * 32)
    assert (dict(backbone.preprocess), backbone.dimensions) == ({"kind": "image"}, 2)


def test_features_are_in_order_and_none_for_a_file_that_is_no_image() -> None:
    features = create(FakeClient())([b"x", b"text", b"xyz"])
    assert features[1] is None
    assert [int(each[0]) for each in features if each is not None] == [1, 3]


def test_many_images_are_sent_in_several_requests() -> None:
    client = FakeClient()
    assert len(create(client)([b"x"] * 40)) == 40
    assert client.requests == [1, 16, 16, 8]


@pytest.mark.parametrize("failure", [item_error(429), item_error(503).error])
def test_temporary_failures_are_retried(failure: Exception | ItemError) -> None:
    client = FakeClient()
    embed = create(client)
    client.failures = [failure]
    np.testing.assert_array_equal(
        [row[0] for row in embed([b"x", b"xy"]) if row is not None], [1, 2]
    )


@pytest.mark.parametrize("failure", [item_error(500), item_error(404)])
def test_permanent_failures_are_no_unusable_images(failure: ItemError) -> None:
    client = FakeClient()
    embed = create(client)
    client.failures = [failure]
    with pytest.raises(BackendError):
        embed([b"x"])


def test_stop_ends_the_waiting() -> None:
    client, stop = FakeClient(), threading.Event()
    embed = create(client, stop)
    client.failures = [BackendUnreachable("http://backend", timed_out=False)]
    stop.set()
    with pytest.raises(TeachCancelled):
        embed([b"x"])
