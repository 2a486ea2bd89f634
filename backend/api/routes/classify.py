"""POST /classify, POST /classify/batch."""

import asyncio
import base64
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Final

import orjson
from fastapi import APIRouter, Request
from starlette.responses import Response, StreamingResponse
from ulid import ULID

from backend.api import deadlines, errors, uploads
from backend.api.deps import (
    DEFAULT_COVERAGE,
    CatalogDep,
    CoverageParam,
    HistoryDep,
    ModelParam,
    ProbabilitiesParam,
    RequestIdDep,
    ModelInputParam,
    SettingsDep,
    StoreParam,
    TopKParam,
    choose,
)
from backend.api.multipart import Upload
from backend.api.schemas.classify import PROBLEM_RESPONSES, Classification, ModelRef, classification
from backend.history.history import History
from backend.inference.classifier import Classifier
from backend.inference.types import Prediction

router = APIRouter(tags=["classify"])

# Enough to keep the decoders and the batcher busy, few enough to leave the queue to others.
_BATCH_IN_FLIGHT: Final = 16

_FILE: Final = {"type": "string", "format": "binary"}
_TIMEOUT_HEADER: Final = {
    "name": deadlines.HEADER,
    "in": "header",
    "schema": {"type": "number", "exclusiveMinimum": 0},
    "description": "seconds after which the answer is of no use; PRISM_TIMEOUT at most",
}


def _form(**properties: object) -> dict[str, object]:
    return {"schema": {"type": "object", "required": ["file"], "properties": properties}}


_ONE_PICTURE: Final[dict[str, Any]] = {
    "parameters": [_TIMEOUT_HEADER],
    "requestBody": {
        "required": True,
        "description": "JPEG, PNG, WebP, BMP or GIF (its first frame), judged by content.",
        "content": {"multipart/form-data": _form(file=_FILE), "image/*": {"schema": _FILE}},
    },
}
_MANY_PICTURES: Final[dict[str, Any]] = {
    "parameters": [_TIMEOUT_HEADER],
    "requestBody": {
        "required": True,
        "content": {"multipart/form-data": _form(file={"type": "array", "items": _FILE})},
    },
}


@router.post(
    "/classify",
    response_model=Classification,
    responses=PROBLEM_RESPONSES,
    openapi_extra=_ONE_PICTURE,
    summary="Classify one picture",
)
@router.post("/classify/", include_in_schema=False)
async def classify(
    request: Request,
    catalog: CatalogDep,
    settings: SettingsDep,
    history: HistoryDep,
    model: ModelParam = None,
    top_k: TopKParam = 5,
    probabilities: ProbabilitiesParam = True,
    coverage: CoverageParam = DEFAULT_COVERAGE,
    model_input: ModelInputParam = False,
    store: StoreParam = True,
) -> Response:
    """Classify the picture in the form field `file` (or `image`), or sent as the raw body."""
    within = deadlines.allowed(request, settings.timeout)
    classifier = await choose(request, catalog, model, within)
    classifier.require_room(within)  # before the body is read: refusing has to be cheap
    upload = await uploads.read_one(request, settings.max_bytes)
    content = upload.content(settings.max_bytes)
    prediction = await deadlines.unless_gone(request, classifier.classify(content, within))
    answer = _answer(classifier, prediction, upload, top_k, probabilities, coverage)
    await _keep(history if store else None, answer, content)
    if model_input:
        png = await asyncio.to_thread(classifier.see, content)
        answer["model_input"] = f"data:image/png;base64,{base64.b64encode(png).decode()}"
    return Response(
        orjson.dumps(answer, option=orjson.OPT_SERIALIZE_NUMPY), media_type="application/json"
    )


@router.post(
    "/classify/batch",
    responses=PROBLEM_RESPONSES
    | {
        200: {
            "description": "One line per picture, in order: a Classification, or a Problem with "
            "the picture's `filename`.",
            "content": {"application/x-ndjson": {"schema": Classification.model_json_schema()}},
        }
    },
    openapi_extra=_MANY_PICTURES,
    summary="Classify many pictures",
)
@router.post("/classify/batch/", include_in_schema=False)
async def classify_batch(
    request: Request,
    catalog: CatalogDep,
    settings: SettingsDep,
    history: HistoryDep,
    request_id: RequestIdDep,
    model: ModelParam = None,
    top_k: TopKParam = 5,
    probabilities: ProbabilitiesParam = True,
    coverage: CoverageParam = DEFAULT_COVERAGE,
    store: StoreParam = True,
) -> Response:
    """Classify every `file` of the form; a bad picture is an error line, the others succeed."""
    within = deadlines.allowed(request, settings.timeout)
    classifier = await choose(request, catalog, model, within)
    many = await uploads.read_many(request, settings.max_bytes, settings.max_batch_bytes)

    async def line(upload: Upload) -> bytes:
        try:
            content = upload.content(settings.max_bytes)
            await deadlines.until(lambda: classifier.has_room(within), within)
            prediction = await classifier.classify(content, within)
            answer = _answer(classifier, prediction, upload, top_k, probabilities, coverage)
            await _keep(history if store else None, answer, content)
        except Exception as error:
            answer = errors.describe(error, request_id) | {"filename": upload.filename}
        return orjson.dumps(answer, option=orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_APPEND_NEWLINE)

    return StreamingResponse(_in_order(many, line), media_type="application/x-ndjson")


async def _in_order(
    many: list[Upload], line: Callable[[Upload], Awaitable[bytes]]
) -> AsyncIterator[bytes]:
    """Work on a few pictures at a time and yield their lines in the order they came."""
    running: deque[asyncio.Future[bytes]] = deque()
    try:
        for upload in many:
            running.append(asyncio.ensure_future(line(upload)))
            if len(running) == _BATCH_IN_FLIGHT:
                yield await running.popleft()
        while running:
            yield await running.popleft()
    finally:
        for task in running:
            task.cancel()


async def _keep(history: History | None, answer: dict[str, object], content: bytes) -> None:
    """Remember the answer, where there is a history, and note in it whether that worked."""
    if history is not None:
        answer["stored"] = await history.keep(answer, content)


def _answer(
    classifier: Classifier,
    prediction: Prediction,
    upload: Upload,
    top_k: int,
    probabilities: bool,
    coverage: float,
) -> dict[str, object]:
    manifest = classifier.manifest
    return classification(
        prediction,
        answer_id=str(ULID()),
        filename=upload.filename,
        model=ModelRef(name=manifest.name, version=manifest.version),
        top_k=top_k,
        probabilities=probabilities,
        coverage=coverage,
    )
