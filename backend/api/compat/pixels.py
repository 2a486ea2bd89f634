"""Protocol of the digit tutorials' services: POST /predict, POST /predict_nn/ and GET /home.

Rows of raw pixels are already 28x28, white on black, so they are only normalized: no digit is
searched for in them.
"""

import asyncio
from contextlib import suppress
from typing import Any, Final

import orjson
from fastapi import APIRouter, Depends, Query, Request
from starlette.responses import Response

from backend.api import deadlines, json_body, quotas
from backend.api.body import FILE_FIELDS, is_form, is_raw_image, read_body, read_form
from backend.api.clients import client_of
from backend.api.compat import pixel_inputs
from backend.api.compat.calls import Call
from backend.api.compat.pixel_inputs import DRAWING_FIELD, PixelField
from backend.api.deps import CatalogDep, ModelParam, SettingsDep, StoreParam
from backend.api.errors import BodyTooLargeError
from backend.api.multipart import Upload
from backend.api.parameters import check_query
from backend.api.routes.classify import classify
from backend.api.schemas.errors import CLASSIFYING, problems
from backend.api.scopes import require_scope
from backend.catalog import Catalog
from backend.inference.errors import ImageTooLargeError, ModelNotReadyError, PixelsError
from backend.inference.head_classifier import AnyClassifier
from backend.inference.preprocessing.digit_crop import DigitPreprocess
from backend.inference.types import ClassificationResult

router = APIRouter(
    tags=["digit tutorials"],
    dependencies=[require_scope("classify"), Depends(check_query)],
)

_JSON_BODY: Final[dict[str, Any]] = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {
                "schema": {
                    "type": "object",
                    "description": "`input`, `features` and `instances` are rows of 784 numbers "
                    "or images of 28 rows of 28 numbers; `image` is 784 numbers, separated by "
                    "commas. At most 8 MiB, 400,000 numbers and 100,000 arrays.",
                    "properties": {
                        "input": {"type": "array", "minItems": 1},
                        "features": {"type": "array", "minItems": 1},
                        "image": {"type": "string", "minLength": 1567},
                        "instances": {"type": "array", "minItems": 1},
                    },
                    "anyOf": [
                        {"required": [field]}
                        for field in ("input", "features", "image", "instances")
                    ],
                },
                "examples": {
                    "input": {"value": {"input": [[0] * 784]}},
                    "image": {"value": {"image": ",".join(["0"] * 784)}},
                },
            },
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "properties": {"image": {"type": "string", "format": "binary"}},
                    "required": ["image"],
                }
            },
        },
    }
}

_DRAWING_SCHEMA: Final[dict[str, Any]] = {
    "type": "object",
    "properties": {DRAWING_FIELD: {"type": "string", "minLength": 1}},
    "required": [DRAWING_FIELD],
}
_DRAWING_BODY: Final[dict[str, Any]] = {
    "requestBody": {
        "description": "At most 1 MiB. Not needed if the drawing is in the query.",
        "content": {
            "application/json": {"schema": _DRAWING_SCHEMA},
            "application/x-www-form-urlencoded": {"schema": _DRAWING_SCHEMA},
            "multipart/form-data": {"schema": _DRAWING_SCHEMA},
            "text/plain": {"schema": {"type": "string", "minLength": 1}},
        },
    }
}


@router.post(
    "/predict",
    summary="Classify raw pixels",
    openapi_extra=_JSON_BODY,
    responses=problems(*CLASSIFYING),
)
@router.post("/predict/", include_in_schema=False)
async def predict(
    request: Request,
    catalog: CatalogDep,
    settings: SettingsDep,
    model: ModelParam = None,
    store: StoreParam = True,
) -> Response:
    """Classify the pixels in `input`, `features`, `image` or `instances`.

    Each field has its own response format. `image` can also be an image as data URL, and
    `instances` images in base64, as `{"b64": …}`. A form or a raw image is handled as by /classify,
    but without `model`, a model for digits classifies it. Images are stored in the history.
    """
    if is_form(request) or is_raw_image(request):
        model = model or await _find_digit_model(catalog)
        return await classify(request, catalog, settings, model, store=store)
    name, spec = await _choose_digit_model(catalog, model)
    call = await Call.open(request, name)
    body = await call.read(pixel_inputs.MAX_BYTES)
    field, inputs = await call.parse(pixel_inputs.parse_pixels, body, spec)
    answers = await call.classify(inputs, field, store=store)
    return _json_response(_format_response(field, [each.result for each in answers]))


@router.post(
    "/predict_nn/",
    summary="Classify a drawing sent as a data URL",
    openapi_extra=_DRAWING_BODY,
    responses=problems(*CLASSIFYING),
)
@router.post("/predict_nn", include_in_schema=False)
async def predict_nn(
    request: Request,
    catalog: CatalogDep,
    settings: SettingsDep,
    drawing_data: str | None = Query(
        None, min_length=1, description="The image as data:image/png;base64,…"
    ),
    model: ModelParam = None,
) -> Response:
    """Classify the data URL `drawing_data` from the query, a form, JSON, or the raw body.

    A form can also contain an image file, in `drawing_data`, `file` or `image`.

    In the response, `result` is 1, which means success, and `data` holds the 10 probabilities.
    """
    timeout = deadlines.request_timeout(request, settings.timeout)
    classifier, spec = await _get_digit_model(catalog, model)
    request.state.model_name = classifier.manifest.name
    client = client_of(request.scope, settings.trusted_proxies)
    classifier.require_capacity(timeout, client)
    quotas.require_pixels(request.scope)
    upload = Upload(DRAWING_FIELD)
    if drawing_data is None:
        upload = await _read_drawing(request, settings.max_bytes)
    deadline = deadlines.Deadline(timeout)
    data = upload.read(settings.max_bytes)
    if not _is_image_file(upload):
        url = drawing_data
        if len(data) > json_body.MAX_BYTES:
            raise BodyTooLargeError(f"The data URL exceeds {json_body.MAX_BYTES:,} bytes.")
        if url is None:
            url = await deadline.limit(json_body.run_in_parser(pixel_inputs.find_data_url, data))
        data = await deadline.limit(json_body.run_in_parser(pixel_inputs.decode_data_url, url))
    if len(data) > settings.max_bytes:
        raise ImageTooLargeError(f"The image is larger than {settings.max_bytes:,} bytes.")
    quotas.take_image(request.scope, data, settings.max_pixels)
    reading = asyncio.to_thread(pixel_inputs.read_canvas, data, spec, settings.max_pixels)
    canvas = await deadline.limit(reading)
    if canvas is None:
        work_on_image = classifier.classify(data, deadline.remaining(), client)
        result = await deadlines.cancel_on_disconnect(request, work_on_image)
    else:
        work = classifier.classify_inputs(canvas, deadline.remaining(), client)
        (result,) = await deadlines.cancel_on_disconnect(request, work)
    return _json_response({"result": 1, "error": "", "data": result.probabilities.tolist()})


@router.head("/home", include_in_schema=False)
@router.get("/home", summary="Welcome message")
async def home() -> dict[str, str]:
    """Return a welcome message that names the routes for digits."""
    return {"message": "Hello! POST an image of a digit to /classify, or its pixels to /predict."}


async def _find_digit_model(catalog: Catalog) -> str | None:
    """Return the name of the digit model for requests without a model; None if none is served."""
    with suppress(PixelsError):
        name, _ = await _choose_digit_model(catalog, None)
        return name
    return None


async def _get_digit_model(
    catalog: Catalog, name: str | None
) -> tuple[AnyClassifier, DigitPreprocess]:
    """Return the classifier of `_choose_digit_model`; raise its errors."""
    found, spec = await _choose_digit_model(catalog, name)
    return await catalog.get(found).load(), spec


async def _choose_digit_model(catalog: Catalog, name: str | None) -> tuple[str, DigitPreprocess]:
    """Return the model `name`, or without a name the default or first model for digits.

    Of "auto", the first one for digits is returned. Raise ModelNotReadyError if none is found, but
    a model that still loads or has failed may be one.
    """
    others = () if name else (each.name for each in catalog.models())
    not_ready: ModelNotReadyError | None = None
    for candidate in dict.fromkeys((*catalog.resolve(name), *others)):
        try:
            manifest = await catalog.get(candidate).get_manifest()
        except ModelNotReadyError as error:
            not_ready = not_ready or error
            continue
        if isinstance(manifest.preprocess, DigitPreprocess):
            return candidate, manifest.preprocess
    raise not_ready or PixelsError(
        "Raw pixels require a model for digits. Send an image to /classify instead."
    )


def _format_response(field: PixelField, results: list[ClassificationResult]) -> object:
    """Return the response in the format that clients of `field` expect."""
    rows = [result.probabilities.tolist() for result in results]
    label = results[0].top(1)[0].label
    match field:
        case "input":
            return rows
        case "instances":
            return {"predictions": rows}
        case "features":
            return {"result": label}
        case "image":
            return {"prediction": label}


def _json_response(value: object) -> Response:
    return Response(orjson.dumps(value), media_type="application/json")


async def _read_drawing(request: Request, max_bytes: int) -> Upload:
    """Return the body, or the part of a multipart form that contains the drawing."""
    if not is_form(request):
        return Upload(DRAWING_FIELD, None, await read_body(request, json_body.MAX_BYTES))
    parts = await read_form(request, max_bytes + json_body.MAX_BYTES, max_bytes, max_parts=100)
    for part in parts:
        if part.name in (DRAWING_FIELD, *FILE_FIELDS) and (part.data or part.oversized):
            return part
    raise pixel_inputs.missing_drawing_error()


def _is_image_file(part: Upload) -> bool:
    """Return whether a part of a form is an image file, and not text with a data URL."""
    return part.filename is not None and not bytes(part.data).isascii()
