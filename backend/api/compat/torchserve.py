"""Inference protocol of TorchServe: https://pytorch.org/serve/inference_api.html.

A response has the fields of TorchServe's handler `image_classifier`: the five most probable labels.
"""

from typing import Any, Final

from fastapi import APIRouter, Depends, Request
from starlette.responses import Response

from backend.api import deps
from backend.api.body import is_form, read_form
from backend.api.compat import instances
from backend.api.compat.calls import Call
from backend.api.compat.protocol import Problem, Protocol
from backend.api.errors import MissingFileError, TooManyFilesError
from backend.api.json_body import parse_json
from backend.api.multipart import Upload
from backend.api.parameters import check_query
from backend.api.scopes import require_scope
from backend.inference.errors import ModelNotReadyError
from backend.settings import Settings

PATH: Final = "/predictions"
PING: Final = "/ping"

_FIELDS: Final = ("data", "body", "file", "image")  # of a form
_TOP_K: Final = 5
_MAX_PARTS: Final = 100
_TYPES: Final = {
    404: "ModelNotFoundException",
    405: "MethodNotAllowedException",
    503: "ServiceUnavailableException",
}

probe = APIRouter()
router = APIRouter(dependencies=[require_scope("classify"), Depends(check_query)])


def create(_: Settings) -> Protocol:
    """Return the routes of the protocol."""
    both = APIRouter()
    both.include_router(probe)
    both.include_router(router)
    return Protocol(both, (PATH, PING), _error_body)


@probe.head(PING)
@probe.get(PING)
async def ping(response: Response, catalog: deps.CatalogDep) -> dict[str, str]:
    """Return whether the default model can classify; 503 if not."""
    try:
        catalog.require_ready()
    except ModelNotReadyError:
        response.status_code = 503
        return {"status": "Unhealthy"}
    return {"status": "Healthy"}


@router.api_route(PATH + "/{model}", methods=["POST", "PUT"])
@router.api_route(PATH + "/{model}/{version}", methods=["POST", "PUT"])
async def predictions(
    request: Request,
    settings: deps.SettingsDep,
    model: str,
    version: str | None = None,
    store: deps.StoreParam = True,
) -> dict[str, float]:
    """Classify the image in the body, whatever its Content-Type, or in the form field `data`."""
    call = await Call.open(request, model if version is None else f"{model}@{version}")
    if is_form(request):
        image = await _read_form(request, settings.max_bytes)
        call.start()
    else:
        image = bytes(await call.read())
        if image[:1] in (b"{", b"[", b'"'):  # no image file starts with one of these
            image = await call.parse(_parse_json, image)
    (answer,) = await call.classify_images([image], store=store)
    scores: dict[str, float] = {}
    for each in answer.result.top(_TOP_K):
        scores.setdefault(each.label, each.probability)  # two classes can have the same label
    return scores


async def _read_form(request: Request, max_bytes: int) -> bytes:
    parts = await read_form(request, max_bytes + 100_000, max_bytes, _MAX_PARTS)
    files = [each for each in parts if each.name in _FIELDS]
    if not files:
        raise MissingFileError("The form has no field 'data'. Send the image in a field 'data'.")
    if len(files) > 1:
        raise TooManyFilesError(f"The form has {len(files)} images. Send one.")
    upload: Upload = files[0]
    return upload.read(max_bytes)


def _parse_json(body: bytes | bytearray) -> bytes:
    """Return the image in JSON: in base64, alone or as the field `data` or `body`."""
    (image,) = instances.read_images([parse_json(body)], "data")
    return image


def _error_body(problem: Problem) -> dict[str, Any]:
    status = problem["status"]
    default = "InternalServerException" if status >= 500 else "BadRequestException"
    return {"code": status, "type": _TYPES.get(status, default), "message": problem["detail"]}
