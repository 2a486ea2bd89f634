"""Protocol of Vertex AI: the routes that a container with a model must have there.

https://cloud.google.com/vertex-ai/docs/predictions/custom-container-requirements. The platform sets
AIP_HEALTH_ROUTE and AIP_PREDICT_ROUTE. Predictions have the fields of Vertex AI's own image
classification models.
"""

from typing import Any, Final

import orjson
from fastapi import APIRouter, Depends, Request
from starlette.responses import Response

from backend.api import deps
from backend.api.compat import instances
from backend.api.compat.calls import Call, serialize
from backend.api.compat.inference_outputs import Answer
from backend.api.compat.protocol import Problem, Protocol, canonical_code
from backend.api.errors import MalformedRequestError
from backend.api.parameters import check_query
from backend.api.scopes import require_scope
from backend.inference.models.artifact import Manifest
from backend.inference.types import Floats
from backend.settings import Settings

_DEFAULT_PREDICTIONS: Final = 10  # of an image, as of Vertex AI's own models
_MAX_PREDICTIONS: Final = 10_000


def create(settings: Settings) -> Protocol:
    """Return the routes that the environment names."""
    router = APIRouter()
    if settings.aip_health_route:
        router.add_api_route(settings.aip_health_route, health, methods=["GET", "HEAD"])
    if settings.aip_predict_route:
        router.add_api_route(
            settings.aip_predict_route,
            predict,
            methods=["POST"],
            dependencies=[require_scope("classify"), Depends(check_query)],
        )
    routes = settings.aip_health_route, settings.aip_predict_route
    return Protocol(router, tuple(filter(None, routes)), _error_body)


async def health(catalog: deps.CatalogDep) -> dict[str, str]:
    """Return 200 once the default model can classify."""
    catalog.require_ready()
    return {"status": "ready"}


async def predict(
    request: Request, model: deps.ModelParam = None, store: deps.StoreParam = True
) -> Response:
    """Classify the images, or preprocessed inputs, in `instances`; if one is invalid, fail."""
    call = await Call.open(request, model)
    inputs, threshold, count = await call.parse(_parse, await call.read(), await call.manifest())
    answers = await call.classify(inputs, "instances", store=store)

    def make() -> bytes:
        predictions = [_make_prediction(each, threshold, count) for each in answers]
        return orjson.dumps({"predictions": predictions})

    return Response(await serialize(answers, make), media_type="application/json")


def _parse(
    body: bytes | bytearray, manifest: Manifest | None
) -> tuple[list[bytes] | Floats, float, int]:
    """Return the instances, `confidenceThreshold` and `maxPredictions`."""
    fields = instances.parse_object(body)
    threshold, count = _read_parameters(fields.get("parameters"))
    values = instances.get_list(fields, "instances")
    return instances.read_instances(values, "instances", manifest), threshold, count


def _make_prediction(answer: Answer, threshold: float, count: int) -> dict[str, list[Any]]:
    top = [each for each in answer.result.top(count) if each.probability >= threshold]
    return {
        "ids": [str(each.index) for each in top],
        "displayNames": [each.label for each in top],
        "confidences": [each.probability for each in top],
    }


def _read_parameters(value: object) -> tuple[float, int]:
    """Return `confidenceThreshold` and `maxPredictions`; other parameters are ignored."""
    fields = {} if value is None else value
    if not isinstance(fields, dict):
        raise MalformedRequestError("parameters: must be an object.")
    threshold = fields.get("confidenceThreshold", 0.0)
    if type(threshold) not in (int, float) or not 0 <= threshold <= 1:
        raise MalformedRequestError("parameters.confidenceThreshold: must be a number from 0 to 1.")
    count = fields.get("maxPredictions", _DEFAULT_PREDICTIONS)
    # The SDK sends integers as floating-point numbers.
    if type(count) not in (int, float) or count not in range(1, _MAX_PREDICTIONS + 1):
        raise MalformedRequestError(
            f"parameters.maxPredictions: must be an integer from 1 to {_MAX_PREDICTIONS:,}."
        )
    return threshold, int(count)


def _error_body(problem: Problem) -> dict[str, Any]:
    """Return the error body of Google's APIs: https://google.aip.dev/193."""
    status = problem["status"]
    return {
        "error": {"code": status, "message": problem["detail"], "status": canonical_code(status)}
    }
