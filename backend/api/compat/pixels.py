"""What the digit services of tutorials answer: POST /predict, POST /predict_nn/, GET /home.

Rows of raw pixels are 28x28 already, white ink on black: they skip the search for the digit and
go through the model's normalization only.
"""

import asyncio
from contextlib import suppress
from typing import Any, Final

import orjson
from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from backend.api import body as limits
from backend.api import deadlines, uploads
from backend.api.compat import data_url, pixel_inputs
from backend.api.deps import CatalogDep, HistoryDep, ModelParam, SettingsDep, choose
from backend.api.routes.classify import classify
from backend.api.schemas.classify import PROBLEM_RESPONSES
from backend.catalog import Catalog
from backend.inference.classifier import Classifier
from backend.inference.errors import ImageTooLargeError, ModelNotReadyError, PixelsError
from backend.inference.preprocessing.digits import DigitPreprocess
from backend.inference.types import Prediction

router = APIRouter(tags=["digit dialects"], responses=PROBLEM_RESPONSES)

_JSON_BODY: Final[dict[str, Any]] = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {
                "schema": {"type": "object"},
                "examples": {
                    "input": {"value": {"input": [[0] * 784]}},
                    "image": {"value": {"image": ",".join(["0"] * 784)}},
                },
            },
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "properties": {"image": {"type": "string", "format": "binary"}},
                }
            },
        },
    }
}


@router.post("/predict", summary="Classify rows of pixels", openapi_extra=_JSON_BODY)
@router.post("/predict/", include_in_schema=False)
async def predict(
    request: Request,
    catalog: CatalogDep,
    settings: SettingsDep,
    history: HistoryDep,
    model: ModelParam = None,
) -> Response:
    """Answer `input`, `features`, `image` or `instances` each in its own shape.

    A form or a raw picture is answered as by /classify.
    """
    if uploads.is_form(request) or uploads.is_picture(request):
        return await classify(request, catalog, settings, history, model)
    within = deadlines.allowed(request, settings.timeout)
    classifier, spec = await _digit_model(catalog, model)
    request.state.model_name = classifier.manifest.name
    classifier.require_room(within)
    body = await limits.read(request, settings.max_bytes)
    query = await asyncio.to_thread(pixel_inputs.parse, body, spec)
    answers = classifier.classify_inputs(query.inputs, within)
    predictions = await deadlines.unless_gone(request, answers)
    return _json(_shaped(query.field, predictions))


@router.post("/predict_nn/", summary="Classify a drawing sent as a data URL")
@router.post("/predict_nn", include_in_schema=False)
async def predict_nn(
    request: Request,
    catalog: CatalogDep,
    settings: SettingsDep,
    drawing_data: str | None = Query(None, description="data:image/png;base64,…"),
    model: ModelParam = None,
) -> Response:
    """Take `drawing_data` from the query, a form, JSON, or the body itself."""
    sent = drawing_data or await _drawing(request, settings.max_bytes)
    data = await asyncio.to_thread(data_url.decode, sent)
    if len(data) > settings.max_bytes:
        raise ImageTooLargeError(f"The picture is larger than {settings.max_bytes:,} bytes.")
    within = deadlines.allowed(request, settings.timeout)
    classifier = await choose(request, catalog, model, within)
    prediction = await deadlines.unless_gone(request, classifier.classify(data, within))
    best = int(prediction.ranking[0])
    return _json({"result": best, "error": "", "data": prediction.probabilities.tolist()})


@router.get("/home", summary="A greeting")
async def home() -> dict[str, str]:
    """Say hello and where to send a digit."""
    return {"message": "Hello! POST a picture of a digit to /classify, or its pixels to /predict."}


async def _digit_model(catalog: Catalog, name: str | None) -> tuple[Classifier, DigitPreprocess]:
    """The model `name`, else the default one, else the first by name that reads digits."""
    names = [name] if name else [catalog.default, *(entry.name for entry in catalog.entries())]
    for candidate in names:
        with suppress(ModelNotReadyError):
            classifier = await catalog.get(candidate)
            spec = classifier.manifest.preprocess
            if isinstance(spec, DigitPreprocess):
                return classifier, spec
    raise PixelsError("Raw pixels are for models that read digits. Send a picture to /classify.")


def _shaped(field: pixel_inputs.Field, predictions: list[Prediction]) -> object:
    """The answer in the shape that the clients of `field` expect."""
    rows = [prediction.probabilities.tolist() for prediction in predictions]
    label = predictions[0].top(1)[0].label
    match field:
        case "input":
            return rows
        case "instances":
            return {"predictions": rows}
        case "features":
            return {"result": label}
        case "image":
            return {"prediction": label}


def _json(value: object) -> Response:
    return Response(orjson.dumps(value), media_type="application/json")


async def _drawing(request: Request, max_bytes: int) -> str:
    """The data URL in the body, whichever way it was put there."""
    limit = 2 * max_bytes  # base64 and URL quoting make the text longer than the picture
    if uploads.is_form(request):
        for part in await uploads.read_form(request, limit, limit):
            if part.name == data_url.FIELD and part.data:
                return part.data.decode("ascii", "replace")
        raise data_url.missing()
    return await asyncio.to_thread(data_url.find, await limits.read(request, limit))
