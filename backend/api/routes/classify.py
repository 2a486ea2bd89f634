"""POST /classify and POST /classify/batch."""

import time
from typing import Any, Final

import orjson
from fastapi import APIRouter, Depends, Request
from starlette.responses import Response

from backend.api import deadlines, deps, quotas, recording
from backend.api.body import read_image, read_images
from backend.api.clients import client_of
from backend.api.errors import problem_for
from backend.api.image_batches import (
    IMAGES_BODY,
    NdjsonResponse,
    lines_of,
    run_in_order,
    slots_of,
    wait_for_capacity,
)
from backend.api.multipart import Upload
from backend.api.parameters import check_query
from backend.api.schemas.classify import (
    Classification,
    make_classification,
    make_explanation,
    png_url,
)
from backend.api.schemas.errors import CLASSIFYING, problems
from backend.api.scopes import require_scope
from backend.inference import auto

router = APIRouter(
    tags=["classify"], dependencies=[require_scope("classify"), Depends(check_query)]
)

# Share of the deadline after which no better explanation is sought, to leave time to draw it.
_EXPLAIN_SHARE: Final = 0.9

_FILE_SCHEMA: Final = {"type": "string", "format": "binary", "minLength": 1}


def _form_schema(file: object) -> dict[str, object]:
    return {"schema": {"type": "object", "required": ["file"], "properties": {"file": file}}}


_SINGLE_IMAGE_BODY: Final[dict[str, Any]] = {
    "requestBody": {
        "required": True,
        "description": (
            "JPEG, PNG, WebP, GIF, BMP, HEIC, AVIF, TIFF, JPEG 2000, ICO or PPM, detected from the "
            "content. The first frame or page is used."
        ),
        "content": {
            "multipart/form-data": _form_schema(_FILE_SCHEMA),
            "image/*": {"schema": _FILE_SCHEMA},
        },
    },
}
_HISTORY_LINKS: Final = {  # what the history does with the ID of a stored classification
    operation: {
        "operationId": f"{operation}_history__id__{suffix}",
        "parameters": {"id": "$response.body#/id"},
    }
    for operation, suffix in (
        ("get_one", "get"),
        ("image", "image_get"),
        ("give_feedback", "patch"),
        ("delete", "delete"),
    )
}


@router.post(
    "/classify",
    response_model=Classification,
    responses=problems(*CLASSIFYING) | {200: {"links": _HISTORY_LINKS}},
    openapi_extra=_SINGLE_IMAGE_BODY,
    summary="Classify an image",
)
@router.post("/classify/", include_in_schema=False)
async def classify(
    request: Request,
    catalog: deps.CatalogDep,
    settings: deps.SettingsDep,
    model: deps.ModelParam = None,
    top_k: deps.TopKParam = 5,
    probabilities: deps.ProbabilitiesParam = True,
    coverage: deps.CoverageParam = deps.DEFAULT_COVERAGE,
    model_input: deps.ModelInputParam = False,
    explain: deps.ExplainParam = False,
    store: deps.StoreParam = True,
) -> Response:
    """Classify the image in the form field `file` (or `image`), or in the raw body."""
    timeout = deadlines.request_timeout(request, settings.timeout)
    models, timeout = await deps.get_models(request, catalog, model, timeout)
    client = client_of(request.scope, settings.trusted_proxies)
    for each in models:  # before reading the body: rejections must be cheap
        if each.classifier is not None:
            each.classifier.require_capacity(timeout, client)
    quotas.require_pixels(request.scope)
    upload = await read_image(request, settings.max_bytes)
    content = upload.read(settings.max_bytes)
    quotas.take_image(request.scope, content, settings.max_pixels)
    started = time.perf_counter()
    classifier, result = await deadlines.cancel_on_disconnect(
        request, auto.classify(models, content, timeout, client)
    )
    request.state.model_name = classifier.manifest.name
    fields = make_classification(
        result, classifier.manifest, upload.filename, top_k, probabilities, coverage
    )
    if store:
        seconds = timeout - (time.perf_counter() - started)
        await recording.store(request, fields, content, result.brightness, seconds)
    if model_input:
        png = await classifier.model_input_png(content, timeout, client)
        fields["model_input"] = png_url(png)
    if explain:
        seconds = max(_EXPLAIN_SHARE * timeout - (time.perf_counter() - started), 0)
        explaining = classifier.explain(content, result, seconds, client)
        explanation = await deadlines.cancel_on_disconnect(request, explaining)
        fields["explanation"] = make_explanation(explanation)
    recording.offer_to_shadow(request, model, fields, content, classifier, result)
    return Response(
        orjson.dumps(fields, option=orjson.OPT_SERIALIZE_NUMPY), media_type="application/json"
    )


@router.post(
    "/classify/batch",
    responses=problems(*CLASSIFYING) | lines_of("Classification"),
    openapi_extra=IMAGES_BODY,
    summary="Classify multiple images",
)
@router.post("/classify/batch/", include_in_schema=False)
async def classify_batch(
    request: Request,
    catalog: deps.CatalogDep,
    settings: deps.SettingsDep,
    request_id: deps.RequestIdDep,
    model: deps.ModelParam = None,
    top_k: deps.TopKParam = 5,
    probabilities: deps.ProbabilitiesParam = True,
    coverage: deps.CoverageParam = deps.DEFAULT_COVERAGE,
    store: deps.StoreParam = True,
) -> Response:
    """Classify every `file` of the form. An invalid image fails alone."""
    timeout = deadlines.request_timeout(request, settings.timeout)
    models, _ = await deps.get_models(request, catalog, model, timeout)  # `timeout`: per image
    client = client_of(request.scope, settings.trusted_proxies)
    quotas.require_pixels(request.scope)
    uploads = await read_images(request, settings.max_bytes, settings.max_batch_bytes)
    slots = slots_of(client)

    async def classify_line(upload: Upload) -> bytes:
        try:
            async with slots:
                content = upload.read(settings.max_bytes)
                quotas.take_image(request.scope, content, settings.max_pixels)
                await wait_for_capacity(models, content, timeout, client)
                started = time.perf_counter()
                classifier, result = await auto.classify(models, content, timeout, client)
                fields = make_classification(
                    result, classifier.manifest, upload.filename, top_k, probabilities, coverage
                )
                if store:
                    seconds = timeout - (time.perf_counter() - started)
                    await recording.store(request, fields, content, result.brightness, seconds)
                recording.offer_to_shadow(request, model, fields, content, classifier, result)
        except Exception as error:
            fields = problem_for(error, request_id) | {"filename": upload.filename}
        return orjson.dumps(fields, option=orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_APPEND_NEWLINE)

    return NdjsonResponse(run_in_order(uploads, classify_line))
