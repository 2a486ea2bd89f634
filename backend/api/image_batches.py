"""Requests with many images: a few are processed at a time, and their lines come in order."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any, Final
from weakref import WeakValueDictionary

from starlette.responses import StreamingResponse

from backend.api import deadlines
from backend.api.multipart import Upload
from backend.served_model import ServedModel

# Images of all batches of one client that are processed at a time: enough to keep the decoders and
# the batcher busy, few enough to leave the event loop and the queue to others.
CONCURRENCY: Final = 16
_slots: Final = WeakValueDictionary[str, asyncio.Semaphore]()  # by client

_FILE_SCHEMA: Final = {"type": "string", "format": "binary"}
_FORM_SCHEMA: Final = {
    "type": "object",
    "required": ["file"],
    "properties": {"file": {"type": "array", "items": _FILE_SCHEMA, "minItems": 1}},
}


class NdjsonResponse(StreamingResponse):
    """A response of one JSON object per line."""

    media_type = "application/x-ndjson"


# The argument `openapi_extra` of a route that reads many images.
IMAGES_BODY: Final[dict[str, Any]] = {
    "requestBody": {
        "required": True,
        "content": {"multipart/form-data": {"schema": _FORM_SCHEMA}},
    },
}


def lines_of(schema: str) -> dict[int | str, dict[str, Any]]:
    """Return the documentation of one line per image, for the argument `responses` of a route."""
    # Not model_json_schema(): its references to other models are not valid inside the document.
    schemas = [{"$ref": f"#/components/schemas/{name}"} for name in (schema, "Problem")]
    return {
        200: {
            "description": f"One line per image, in order: `{schema}`, or `Problem` with the "
            "image's `filename`.",
            "content": {NdjsonResponse.media_type: {"schema": {"anyOf": schemas}}},
        }
    }


def slots_of(client: str) -> asyncio.Semaphore:
    """Return the semaphore that the images of all batches of one client share."""
    return _slots.setdefault(client, asyncio.Semaphore(CONCURRENCY))


async def wait_for_capacity(
    models: Sequence[ServedModel], content: bytes, time_limit: float, client: str
) -> None:
    """Wait until all models that are loaded would admit an image, at most `time_limit` seconds."""
    await deadlines.wait_until(
        lambda: all(
            each.classifier is None or each.classifier.has_capacity(time_limit, client, content)
            for each in models
        ),
        time_limit,
    )


async def run_in_order(
    uploads: Sequence[Upload], make_line: Callable[[Upload], Awaitable[bytes]]
) -> AsyncIterator[bytes]:
    """Process a few images at a time and yield their lines in order."""
    running: deque[asyncio.Future[bytes]] = deque()
    try:
        for upload in uploads:
            running.append(asyncio.ensure_future(make_line(upload)))
            if len(running) == CONCURRENCY:
                yield await running.popleft()
        while running:
            yield await running.popleft()
    finally:
        for task in running:
            task.cancel()
