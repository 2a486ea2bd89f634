"""Automatic choice of the model: several classifiers are asked in order about one image."""

import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace

from backend.inference.classifier import Classifier
from backend.inference.decoder import SharedImage
from backend.inference.errors import DeadlineError
from backend.inference.types import ClassificationResult, Timings


async def classify(
    classifiers: Sequence[Classifier],
    data: bytes,
    time_limit: float | None = None,
    client: str = "",
) -> tuple[Classifier, ClassificationResult]:
    """Classify an image file; return the classifier that answers, and its result.

    The first classifier for which the image is in distribution answers, else the last one. A
    classifier without an out-of-distribution limit answers only as the last. The timings are those
    of all classifiers asked. Raise the errors of `Classifier.classify`; `time_limit` is the limit
    for all of them together, in seconds.
    """
    end = None if time_limit is None else time.perf_counter() + time_limit
    spent = Timings(0.0, 0.0, 0.0)
    *specialized, last = classifiers
    if not specialized:
        return last, await last.classify(data, time_limit, client)
    image = SharedImage(data, [classifier.decoder for classifier in classifiers])
    with closing(image):
        for classifier in specialized:
            result = await classifier.classify(image, _seconds_until(end), client)
            spent = _add(spent, result.timings)
            if result.in_distribution:
                return classifier, replace(result, timings=spent)
        result = await last.classify(image, _seconds_until(end), client)
        return last, replace(result, timings=_add(spent, result.timings))


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
