"""Automatic choice of the model: several classifiers are asked in order about one image."""

import time
from collections.abc import Sequence
from contextlib import AbstractContextManager, closing, nullcontext
from dataclasses import replace
from typing import Protocol

from backend.inference.decoder import SharedImage
from backend.inference.errors import DeadlineError
from backend.inference.head_classifier import AnyClassifier
from backend.inference.types import ClassificationResult, Timings


class Model(Protocol):
    """A model that may still have to be loaded."""

    @property
    def classifier(self) -> AnyClassifier | None:
        """The classifier, once it is loaded."""

    async def load(self, max_wait: float | None = None) -> AnyClassifier:
        """Return the classifier; load it, and wait at most `max_wait` seconds, if necessary."""


async def classify(
    models: Sequence[Model],
    data: bytes,
    time_limit: float | None = None,
    client: str = "",
) -> tuple[AnyClassifier, ClassificationResult]:
    """Classify an image file; return the classifier that answers, and its result.

    The first model for which the image is in distribution answers, else the last one. A model
    without an out-of-distribution limit answers only as the last. A model is loaded only if it is
    asked. The timings are those of all models asked. Raise the errors of `Model.load` and
    `Classifier.classify`; `time_limit` is the limit for all of them together, in seconds.
    """
    end = None if time_limit is None else time.perf_counter() + time_limit
    spent = Timings(0.0, 0.0, 0.0)
    *specialized, last = models
    with _share(data, models) as image:
        for model in specialized:
            classifier = model.classifier or await model.load(_seconds_until(end))
            result = await classifier.classify(image, _seconds_until(end), client)
            spent = _add(spent, result.timings)
            if result.in_distribution:
                return classifier, replace(result, timings=spent)
        classifier = last.classifier or await last.load(_seconds_until(end))
        result = await classifier.classify(image, _seconds_until(end), client)
        return classifier, replace(result, timings=_add(spent, result.timings))


def _share(data: bytes, models: Sequence[Model]) -> AbstractContextManager[bytes | SharedImage]:
    """Return a context with an image that is decoded once, if several models are loaded."""
    decoders = [model.classifier.decoder for model in models if model.classifier]
    if len(models) == 1 or len(decoders) < len(models):
        return nullcontext(data)
    return closing(SharedImage(data, decoders))


def _seconds_until(end: float | None) -> float | None:
    if end is None:
        return None
    seconds = end - time.perf_counter()
    if seconds <= 0:
        raise DeadlineError("The classification took too long and was cancelled. Try again later.")
    return seconds


def _add(first: Timings, second: Timings) -> Timings:
    return Timings(
        first.decode + second.decode,
        first.queue + second.queue,
        first.inference + second.inference,
    )
