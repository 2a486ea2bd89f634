"""A backend with a registry of taught models, and training that needs no features."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest

from client import (
    BackendError,
    Client,
    ModelVersion,
    ModelVersions,
    Shadow,
    ShadowAgreement,
    ShadowCorrected,
    ShadowMedians,
)
from evaluation.intervals import wilson
from frontend.service import teaching
from frontend.service.predictions import ImageFile
from teach.types import Report, Suspect, TaughtModel

METHODS = (
    "put_model", "versions", "activate", "delete_version", "delete_model", "shadow", "set_shadow",
    "remove_shadow",
)  # fmt: skip


class FakeRegistry:
    """Replaces the methods of the client that change models."""

    def __init__(self) -> None:
        self.stored: list[ModelVersion] = []
        self.active: int | None = None
        self.previous: int | None = None
        self.current: Shadow | None = None
        self.error: BackendError | None = None

    def put_model(
        self, name: str, manifest: Mapping[str, Any], head: bytes, **options: Any
    ) -> ModelVersion:
        if self.error:
            raise self.error
        number = len(self.stored) + 1
        labels = tuple(manifest["labels"])
        created = datetime(2026, 1, 2, 3, 4, tzinfo=UTC)
        reason = options["reason"]
        metrics = {"test_accuracy": 0.875}
        is_active = options.get("activate", True)
        new = ModelVersion(name, number, created, "ana", reason, is_active, metrics, labels)
        self.stored.append(new)
        if is_active:
            self.activate(name, number)
        return new

    def versions(self, name: str) -> ModelVersions:
        stored = tuple(
            ModelVersion(
                one.name,
                one.version,
                one.created,
                one.author,
                one.reason,
                one.version == self.active,
                one.metrics,
                one.labels,
            )
            for one in self.stored
        )
        return ModelVersions(name, self.active, stored, self.previous)

    def activate(self, name: str, version: int) -> ModelVersion:
        self.previous, self.active = self.active, version
        return self.stored[version - 1]

    def delete_version(self, name: str, version: int) -> None:
        self.stored = [one for one in self.stored if one.version != version]

    def delete_model(self, name: str) -> None:
        self.stored = []

    def shadow(self, name: str) -> Shadow | None:
        return self.current

    def set_shadow(self, name: str, version: int, share: float = 1.0) -> Shadow:
        self.current = Shadow(
            name,
            version,
            self.active or 0,
            share,
            datetime(2026, 1, 2, 3, 4, tzinfo=UTC),
            40,
            ShadowAgreement(0.9, 0.77, 0.96),
            ShadowMedians(0.81, 0.93),
            ShadowMedians(10.0, 11.0),
            ShadowCorrected(20, 8, 1, 9, 2, 0.03),
        )
        return self.current

    def remove_shadow(self, name: str) -> None:
        self.current = None


@pytest.fixture
def registry(monkeypatch: pytest.MonkeyPatch) -> FakeRegistry:
    """The registry of every client."""
    fake = FakeRegistry()
    for name in METHODS:
        method = getattr(fake, name)
        monkeypatch.setattr(Client, name, lambda _, *args, m=method, **kwargs: m(*args, **kwargs))
    return fake


def fake_teach(
    client: Client,
    images: Sequence[tuple[str, ImageFile]],
    cache: dict[str, Any],
    name: str,
    job: Any,
    version: int | None = None,
) -> TaughtModel:
    """Return a model of which the first image is probably mislabeled; each image is cached."""
    labels = tuple(dict.fromkeys(label for label, _ in images))
    for _, file in images:
        cache[file.digest] = np.ones(2, np.float32)
    if "broken" in labels:
        raise teaching.TeachingError("The class “broken” has no readable image. Add some.")
    confusion = np.diag([sum(label == other for label, _ in images) for other in labels])
    truth, first = images[0]
    prediction = next(label for label in labels if label != truth)
    confusion[labels.index(truth), labels.index(truth)] -= 1
    confusion[labels.index(truth), labels.index(prediction)] += 1
    report = Report(
        labels,
        tuple(confusion.sum(axis=1).tolist()),
        1 - 1 / len(images),
        wilson(len(images) - 1, len(images)),
        confusion,
        (Suspect(0, first.name, truth, prediction, 0.04),),
        ("notes.txt",),
        ("Too few images for a promise: add at least 20 of each class.",),
        "feature_distance",
        0.97,
        1.2,
    )
    return TaughtModel({"name": name, "labels": list(labels)}, b"head", "# Card", report)
