"""Features of images from the backend, and model folders."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import pytest

from client import (
    Backbone,
    BackendError,
    Client,
    Embedding,
    ItemError,
    ModelCard,
    ModelRef,
)
from frontend.service import teaching
from frontend.service.teaching import Cache, ServedEmbedding, TeachingCanceledError, TeachingError
from frontend.state.jobs import Job
from tests.frontend.samples import MODEL

BACKBONE = Backbone("photos", "a" * 64)


class EmbeddingClient(Client):
    """Embeds a file as its length; files that start with bad are no images."""

    def __init__(self, *failures: BackendError) -> None:
        super().__init__("http://fake")
        self.batches: list[int] = []
        self.failures = list(failures)
        self.preprocess: dict[str, object] | None = {"kind": "image"}

    def embed(
        self, files: Sequence[tuple[str, bytes]], model: str = "photos"
    ) -> Iterator[Embedding | ItemError]:
        if self.failures:
            raise self.failures.pop()
        self.batches.append(len(files))
        for name, content in files:
            if content.startswith(b"bad"):
                yield ItemError(name, BackendError(status=415))
            else:
                yield Embedding(name, (float(len(content)), 0.0), ModelRef("photos", "1"), BACKBONE)

    def model(self, name: str) -> ModelCard:
        return ModelCard(replace(MODEL, name=name), None, self.preprocess)


def make_job() -> Job:
    return Job(lambda job: None, lambda: 0.0)


def embed(client: Client, contents: Sequence[bytes], cache: Cache | None = None) -> list[object]:
    found = ServedEmbedding(client, {} if cache is None else cache, make_job())(contents)
    return [None if features is None else features.tolist() for features in found]


def test_features_are_in_order_and_none_for_files_that_are_no_images() -> None:
    assert embed(EmbeddingClient(), [b"a", b"bad", b"ccc"]) == [[1.0, 0.0], None, [3.0, 0.0]]


def test_each_content_is_sent_once_in_batches() -> None:
    client, cache = EmbeddingClient(), dict[str, object]()
    contents = [b"x" * (1 + i % 20) for i in range(40)]
    assert embed(client, contents, cache) == embed(client, contents, cache)
    assert client.batches == [16, 4]
    assert all(getattr(features, "dtype", None) == np.float32 for features in cache.values())


def test_busy_backend_is_asked_again() -> None:
    client = EmbeddingClient(BackendError(status=429, code="busy", retry_after=0.001))
    assert embed(client, [b"a"]) == [[1.0, 0.0]]


def test_other_errors_end_the_training() -> None:
    with pytest.raises(BackendError):
        embed(EmbeddingClient(BackendError(status=401, code="key_missing")), [b"a"])


def test_canceled_job_sends_nothing() -> None:
    client, job = EmbeddingClient(), make_job()
    job.cancel()
    with pytest.raises(TeachingCanceledError):
        ServedEmbedding(client, {}, job)([b"a"])
    assert client.batches == []


def test_backbone_is_that_of_the_backend() -> None:
    backbone = teaching.find_backbone(EmbeddingClient())
    assert (backbone.name, backbone.sha256, backbone.dimensions) == ("photos", "a" * 64, 2)
    assert backbone.preprocess == {"kind": "image"}


def test_backend_that_does_not_describe_its_preprocessing_is_refused() -> None:
    client = EmbeddingClient()
    client.preprocess = None
    with pytest.raises(TeachingError, match="Update"):
        teaching.find_backbone(client)
