"""Shadows: versions of taught models that classify images after their responses, in spare capacity.

Nothing that happens to a shadow has an effect on a response. The results are in the history.
"""

import asyncio
import logging
import random
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Final
from weakref import WeakSet

from backend.history.errors import HistoryUnavailableError
from backend.history.shadows import ShadowRecord
from backend.inference.errors import ClosedError, DeadlineError, QueueFullError
from backend.inference.head_classifier import AnyClassifier, HeadClassifier
from backend.inference.types import ClassificationResult
from backend.registry import index
from backend.served_model import ServedModel

if TYPE_CHECKING:
    from backend.history.store import Store

log = logging.getLogger("prism.shadows")

MAX_IMAGES: Final = 2  # that wait for spare capacity, with their files; others are skipped
_MAX_WAIT: Final = 2.0  # s for spare capacity
_POLL_SECONDS: Final = 0.02
_TIME_LIMIT: Final = 30.0  # s of a classification
_COMMIT_SECONDS: Final = 0.5  # between two commits: each may delay the commits of requests
_MAX_RECORDS: Final = 10_000  # that wait for a commit


class Shadows:
    """Lets the shadow of a model classify its share of the images of the active version.

    `find` returns the shadow of a model and its version, `get_store` the history, or raises
    HistoryUnavailableError. `activity` returns None while images of requests are in flight, and
    `draw` a random number in [0, 1). Used on one event loop.
    """

    def __init__(
        self,
        find: Callable[[str], tuple[index.ShadowRecord, ServedModel] | None],
        get_store: Callable[[], "Store"],
        activity: Callable[[], int | None],
        draw: Callable[[], float] = random.random,
    ) -> None:
        self._find = find
        self._get_store = get_store
        self._activity = activity
        self._draw = draw
        self._images = set[asyncio.Task[None]]()
        self._records: list[ShadowRecord] = []
        self._committing: asyncio.Task[None] | None = None
        self._closing = asyncio.Event()
        self._failed = WeakSet[ServedModel]()  # each is logged once

    def offer(
        self,
        name: str,
        classification_id: str,
        content: bytes,
        active: AnyClassifier,
        result: ClassificationResult,
    ) -> None:
        """Classify an image, later, if the model `name` has a shadow and the image is in its share.

        `result` is that of the classifier `active`, and stored in the history under the ID. If the
        shadow has the same backbone, it classifies the features; only another backbone runs again.
        """
        found = self._find(name)
        if found is None or self._draw() >= found[0].share:
            return
        _, model = found
        loop = asyncio.get_running_loop()
        if _have_same_network(model.classifier, active) and result.features is not None:
            loop.call_soon(self._classify_features, model, classification_id, result)
        elif len(self._images) < MAX_IMAGES:
            work = self._classify(model, classification_id, content, active, result)
            task = loop.create_task(work)
            self._images.add(task)
            task.add_done_callback(self._images.discard)

    async def close(self) -> None:
        """Commit the results, and drop images that wait."""
        for task in self._images:
            task.cancel()
        await asyncio.gather(*self._images, return_exceptions=True)
        self._closing.set()
        if self._committing is not None:
            await self._committing

    def _classify_features(
        self, model: ServedModel, classification_id: str, result: ClassificationResult
    ) -> None:
        try:
            assert isinstance(model.classifier, HeadClassifier)  # noqa: S101
            assert result.features is not None  # noqa: S101
            shadow = model.classifier.classify_features(result.features)
            self._add(model, classification_id, shadow)
        except Exception as error:
            self._report(model, error)

    async def _classify(
        self,
        model: ServedModel,
        classification_id: str,
        content: bytes,
        active: AnyClassifier,
        result: ClassificationResult,
    ) -> None:
        """Classify an image with a shadow that is not loaded, or has another backbone."""
        try:
            classifier = await model.load()
            if _have_same_network(classifier, active) and result.features is not None:
                self._classify_features(model, classification_id, result)
            elif isinstance(classifier, HeadClassifier) and await self._wait_for_capacity():
                shadow = await classifier.classify_as_shadow(content, _TIME_LIMIT)
                self._add(model, classification_id, shadow)
        except (ClosedError, DeadlineError, QueueFullError):
            return  # no capacity
        except Exception as error:
            self._report(model, error)

    async def _wait_for_capacity(self) -> bool:
        """Wait until no image of a request is in flight; return whether that was soon."""
        with suppress(TimeoutError):
            async with asyncio.timeout(_MAX_WAIT):
                while self._activity() is None:  # noqa: ASYNC110
                    await asyncio.sleep(_POLL_SECONDS)
                return True
        return False

    def _add(
        self, model: ServedModel, classification_id: str, result: ClassificationResult
    ) -> None:
        """Keep a result for the next commit."""
        assert model.manifest is not None  # noqa: S101
        best = result.top(1)[0]
        if len(self._records) < _MAX_RECORDS:
            self._records.append(
                {
                    "id": classification_id,
                    "version": model.manifest.version,
                    "prediction": best.label,
                    "confidence": best.probability,
                    "in_distribution": result.in_distribution,
                    "milliseconds": result.timings.decode + result.timings.inference,
                }
            )
        if self._committing is None or self._committing.done():
            self._committing = asyncio.create_task(self._commit_later())

    async def _commit_later(self) -> None:
        while self._records:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._closing.wait(), _COMMIT_SECONDS)
            await self._commit()

    async def _commit(self) -> None:
        """Store the results; they are lost if the database fails."""
        records, self._records = self._records, []
        try:
            await asyncio.to_thread(self._get_store().add_shadows, records)
        except HistoryUnavailableError:
            log.warning("%d classifications by shadows are not stored", len(records))
        except Exception:
            log.exception("classifications by shadows cannot be stored")

    def _report(self, model: ServedModel, error: Exception) -> None:
        if model not in self._failed:
            self._failed.add(model)
            log.error("the shadow of %s failed", model.name, exc_info=error)


def _have_same_network(shadow: AnyClassifier | None, active: AnyClassifier) -> bool:
    return (
        isinstance(shadow, HeadClassifier)
        and isinstance(active, HeadClassifier)
        and shadow.network is active.network
    )
