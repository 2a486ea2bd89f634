"""A call of a protocol: what it asks of the models, with the checks that /classify makes."""

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Final, ParamSpec, TypeVar

import numpy as np
from fastapi import Request

from backend.api import deadlines, deps, json_body, quotas, recording
from backend.api.body import read_body
from backend.api.clients import client_of
from backend.api.compat.inference_outputs import Answer
from backend.api.image_batches import slots_of, wait_for_capacity
from backend.api.schemas.classify import make_classification
from backend.inference import auto
from backend.inference.errors import (
    ImageError,
    ImageTooLargeError,
    InferenceError,
    PixelsError,
)
from backend.inference.models.artifact import Manifest
from backend.inference.preprocessing.photos import PhotoPreprocess
from backend.inference.types import Floats
from backend.served_model import ServedModel
from backend.settings import Settings

P = ParamSpec("P")
T = TypeVar("T")

_STORED_LABELS: Final = 5  # in a stored classification
_LARGE: Final = 1e5  # more than any preprocessed pixel
_BASE64: Final = 4 / 3  # characters per byte
_JSON_OVERHEAD: Final = 1_048_576  # bytes of a body besides an image in base64
_LOOP_LABELS: Final = 10_000  # of a response that the event loop makes, in about 10 ms


async def serialize(answers: Sequence[Answer], make: Callable[[], T]) -> T:
    """Return what `make` returns for the answers, in a thread if they have many labels."""
    if sum(len(each.result.labels) for each in answers) <= _LOOP_LABELS:
        return make()
    return await asyncio.to_thread(make)


class Call:
    """A request to classify images or preprocessed inputs with one model, or with `auto`.

    `open` rejects what can be rejected before the body is read. The deadline begins when `read`
    has received the body.
    """

    def __init__(
        self,
        request: Request,
        model: str | None,
        models: Sequence[ServedModel],
        client: str,
        timeout: float,
    ) -> None:
        self.request: Final = request
        self._model = model
        self._models = models
        self._client = client
        self._timeout = timeout
        self._deadline = deadlines.Deadline(timeout)
        self._settings: Settings = request.state.settings

    @classmethod
    async def open(cls, request: Request, model: str | None) -> "Call":
        """Return the call for `model` (None: the default model).

        Raise UnknownModelError, ModelNotReadyError, QueueFullError, QuotaExceededError, and
        InvalidParameterError for an invalid X-Request-Timeout.
        """
        settings: Settings = request.state.settings
        timeout = deadlines.request_timeout(request, settings.timeout)
        models, timeout = await deps.get_models(request, request.state.catalog, model, timeout)
        client = client_of(request.scope, settings.trusted_proxies)
        for each in models:
            if each.classifier is not None:
                each.classifier.require_capacity(timeout, client)
        quotas.require_pixels(request.scope)
        return cls(request, model, models, client, timeout)

    async def read(self, max_bytes: int | None = None) -> bytes | bytearray:
        """Return the body, of at most `max_bytes`, and start the time.

        By default, an image of PRISM_MAX_BYTES in base64 fits.
        """
        limit = round(_BASE64 * self._settings.max_bytes) + _JSON_OVERHEAD
        body = await read_body(self.request, max_bytes or limit)
        self.start()
        return body

    def start(self) -> None:
        """Start the time again: the body has been received."""
        self._deadline = deadlines.Deadline(self._timeout)

    async def parse(self, parse: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call `parse` in the thread that parses bodies."""
        return await self._deadline.limit(json_body.run_in_parser(parse, *args, **kwargs))

    async def manifest(self) -> Manifest | None:
        """Return the manifest of the model, once it is loaded; None: of `auto`."""
        if len(self._models) > 1:
            return None
        return (await self._models[0].load(self._deadline.remaining())).manifest

    async def classify(
        self, inputs: Sequence[bytes] | Floats, name: str = "", *, store: bool = True
    ) -> list[Answer]:
        """Classify image files as `classify_images` does, or inputs as `classify_rows` does."""
        if isinstance(inputs, np.ndarray):
            return await self.classify_rows(inputs)
        return await self.classify_images(inputs, name, store=store)

    async def classify_images(
        self, images: Sequence[bytes], name: str = "", *, store: bool = True
    ) -> list[Answer]:
        """Classify image files, in order, and store the classifications in the history.

        With a `name`, an error names the image, such as `instances[2]`. If one image fails, all do.
        Cancel the work if the client disconnects. Raise the errors of `Classifier.classify`.
        """
        if len(images) == 1:
            work = self._classify_image(images[0], f"{name}[0]" if name else "", store)
            return [await deadlines.cancel_on_disconnect(self.request, work)]
        slots = slots_of(self._client)

        async def classify(number: int) -> Answer:
            async with slots:
                return await self._classify_image(images[number], f"{name}[{number}]", store)

        tasks = [asyncio.create_task(classify(number)) for number in range(len(images))]
        try:
            return await deadlines.cancel_on_disconnect(self.request, asyncio.gather(*tasks))
        finally:
            for task in tasks:
                task.cancel()

    async def classify_rows(self, rows: Floats) -> list[Answer]:
        """Classify preprocessed inputs, float32 of shape (N, *input of the model)."""
        classifier = await self._models[0].load(self._deadline.remaining())
        spec = classifier.manifest.preprocess
        channels = spec.channels if isinstance(spec, PhotoPreprocess) else 1
        quotas.take_pixels(self.request.scope, rows.size // channels)
        work = classifier.classify_inputs(rows, self._deadline.remaining(), self._client)
        try:
            results = await deadlines.cancel_on_disconnect(self.request, work)
        except InferenceError as error:
            if np.abs(rows).max() < _LARGE:
                raise
            raise PixelsError(
                "The model returns no finite numbers for these inputs, which are much larger than "
                "those of images. Preprocess them as the model requires."
            ) from error
        return [Answer(result, classifier.manifest) for result in results]

    async def _classify_image(self, content: bytes, name: str, store: bool) -> Answer:
        try:
            return await self._classify(content, store)
        except ImageError as error:
            raise (type(error)(f"{name}: {error}") if name else error) from error

    async def _classify(self, content: bytes, store: bool) -> Answer:
        max_bytes = self._settings.max_bytes
        if len(content) > max_bytes:
            raise ImageTooLargeError(f"The image is larger than {max_bytes:,} bytes.")
        quotas.take_image(self.request.scope, content, self._settings.max_pixels)
        seconds = self._deadline.remaining()
        await wait_for_capacity(self._models, content, seconds, self._client)
        started = time.perf_counter()
        seconds = self._deadline.remaining()
        classifier, result = await auto.classify(self._models, content, seconds, self._client)
        self.request.state.model_name = classifier.manifest.name
        if store and self.request.state.history is not None:
            fields = make_classification(
                result, classifier.manifest, None, _STORED_LABELS, True, deps.DEFAULT_COVERAGE
            )
            left = seconds - (time.perf_counter() - started)
            await recording.store(self.request, fields, content, result.brightness, left)
            recording.offer_to_shadow(
                self.request, self._model, fields, content, classifier, result
            )
        return Answer(result, classifier.manifest)
