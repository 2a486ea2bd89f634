"""POST /embed."""

import time

import orjson
from fastapi import APIRouter, Depends, Request
from starlette.responses import Response

from backend.api import deadlines, deps, quotas
from backend.api.body import read_images
from backend.api.clients import client_of
from backend.api.errors import InvalidParameterError, problem_for
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
from backend.api.schemas.embed import make_embedding
from backend.api.schemas.errors import CLASSIFYING, problems
from backend.api.scopes import require_scope

router = APIRouter(
    tags=["classify"], dependencies=[require_scope("classify"), Depends(check_query)]
)


@router.post(
    "/embed",
    responses=problems(*CLASSIFYING) | lines_of("Embedding"),
    openapi_extra=IMAGES_BODY,
    summary="Get the features of images",
)
@router.post("/embed/", include_in_schema=False)
async def embed(
    request: Request,
    catalog: deps.CatalogDep,
    settings: deps.SettingsDep,
    request_id: deps.RequestIdDep,
    model: deps.BackboneParam = "photos",
) -> Response:
    """Return the features of every `file` of the form. An invalid image fails alone.

    Features are the input of the network's last layer, scaled to an L2 norm of 1. Images of the
    same kind have similar features, so a few examples suffice to teach a model, or to find similar
    images.
    """
    timeout = deadlines.request_timeout(request, settings.timeout)
    models, _ = await deps.get_models(request, catalog, model, timeout)  # `timeout`: per image
    if len(models) > 1:
        raise InvalidParameterError("model: must be the name of one model, such as photos.")
    (served,) = models
    classifier = await served.load(timeout)
    classifier.require_features()
    backbone = classifier.backbone
    client = client_of(request.scope, settings.trusted_proxies)
    quotas.require_pixels(request.scope)
    uploads = await read_images(request, settings.max_bytes, settings.max_batch_bytes)
    slots = slots_of(client)

    async def embed_line(upload: Upload) -> bytes:
        try:
            async with slots:
                content = upload.read(settings.max_bytes)
                quotas.take_image(request.scope, content, settings.max_pixels)
                started = time.perf_counter()
                await wait_for_capacity(models, content, timeout, client)
                seconds = timeout - (time.perf_counter() - started)
                features = await classifier.embed(content, seconds, client)
                fields = make_embedding(served, backbone, features, upload.filename)
        except Exception as error:
            fields = problem_for(error, request_id) | {"filename": upload.filename}
        return orjson.dumps(fields, option=orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_APPEND_NEWLINE)

    return NdjsonResponse(run_in_order(uploads, embed_line))
