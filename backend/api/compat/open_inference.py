"""Open Inference Protocol v2 over HTTP, as KServe, Triton and MLServer serve it.

https://github.com/kserve/open-inference-protocol. A model has two inputs, of which a request sends
one: `input`, its preprocessed tensor, or `image`, encoded image files as BYTES. The bodies are
parsed whatever their Content-Type says, because clients send none or a wrong one.
"""

from typing import Any, Final

import orjson
from fastapi import APIRouter, Depends, Request
from starlette.responses import Response

from backend import __version__
from backend.api import deps, json_body
from backend.api.body import read_body
from backend.api.compat import inference_outputs as outputs
from backend.api.compat.calls import Call, serialize
from backend.api.compat.inference_outputs import IMAGE, TENSOR
from backend.api.compat.inference_requests import HEADER_LENGTH, InferRequest, parse_request
from backend.api.compat.inference_tensors import read_images, read_rows, shown
from backend.api.compat.protocol import Protocol
from backend.api.errors import MalformedRequestError
from backend.api.parameters import check_query
from backend.api.scopes import require_scope
from backend.catalog import AUTO
from backend.inference.models.artifact import Manifest
from backend.inference.types import Floats
from backend.settings import Settings

PATH: Final = "/v2"
EXTENSIONS: Final = ("binary_tensor_data", "classification")

_PLATFORM: Final = "prism_classifier"
_STATES: Final = {"ready": "READY", "loading": "LOADING", "failed": "UNAVAILABLE"}
_INLINE_BYTES: Final = 1_048_576  # of a body that the event loop parses, in about 1 ms
_INLINE_DIGITS: Final = 4  # of the length of its JSON

probes = APIRouter()
router = APIRouter(dependencies=[require_scope("classify"), Depends(check_query)])


def create(settings: Settings) -> Protocol:
    """Return the routes of the protocol."""
    both = APIRouter()
    both.include_router(probes)
    both.include_router(router)
    return Protocol(both, (PATH,))


@probes.head("/v2/health/live")
@probes.get("/v2/health/live")
async def live(reader: deps.ImageReaderDep) -> dict[str, bool]:
    """Return 200 as long as the process works."""
    reader.require_responsive()
    return {"live": True}


@probes.head("/v2/health/ready")
@probes.get("/v2/health/ready")
async def ready(catalog: deps.CatalogDep) -> dict[str, bool]:
    """Return 200 once the default model can classify."""
    catalog.require_ready()
    return {"ready": True}


@router.get("/v2")
@router.get("/v2/")
async def server_metadata() -> dict[str, Any]:
    """Return the name of the server and its extensions of the protocol."""
    return {"name": "prism", "version": __version__, "extensions": list(EXTENSIONS)}


@router.get("/v2/models/{model}")
@router.get("/v2/models/{model}/versions/{version}")
async def model_metadata(
    catalog: deps.CatalogDep, model: str, version: str | None = None
) -> Response:
    """Return the inputs and outputs of a model."""
    name = _versioned(model, version)
    found = [catalog.get(each) for each in catalog.resolve(name)]
    manifests = [await each.get_manifest() for each in found]
    manifest = manifests[0] if len(manifests) == 1 else None
    return _json(
        {
            "name": manifest.name if manifest else AUTO,
            "versions": [manifest.version] if manifest else [],
            "platform": _PLATFORM,
            "inputs": outputs.describe_inputs(manifest),
            "outputs": outputs.describe_outputs(manifest),
        }
    )


@router.get("/v2/models/{model}/ready")
@router.get("/v2/models/{model}/versions/{version}/ready")
async def model_ready(
    catalog: deps.CatalogDep, model: str, version: str | None = None
) -> dict[str, Any]:
    """Return 200 if the model is verified; the first request loads it if necessary."""
    for name in catalog.resolve(_versioned(model, version)):
        if (found := catalog.get(name)).state != "ready":
            raise found.not_ready()
    return {"name": model, "ready": True}


@router.post("/v2/repository/index")
async def repository_index(request: Request, catalog: deps.CatalogDep) -> Response:
    """Return the names and states of the models; of the ready ones with `{"ready": true}`."""
    body = await read_body(request, json_body.MAX_BYTES)
    fields = json_body.parse_json(body) if body.strip() else {}
    only_ready = isinstance(fields, dict) and fields.get("ready") is True
    return _json(
        [
            {
                "name": each.name,
                "version": each.manifest.version if each.manifest else "",
                "state": _STATES[each.state],
                "reason": each.error or "",
            }
            for each in catalog.models()
            if each.state == "ready" or not only_ready
        ]
    )


@router.post("/v2/repository/models/{model}/load")
@router.post("/v2/repository/models/{model}/unload")
async def load_or_unload(model: str) -> None:
    """Refuse: the operator decides which models are served."""
    raise MalformedRequestError(
        "The protocol cannot load or unload models here: the service loads a model when it is "
        "first asked for. The operator adds models to PRISM_MODELS_DIR, and PUT /models/NAME adds "
        "taught ones."
    )


@router.post("/v2/models/{model}/infer")
@router.post("/v2/models/{model}/versions/{version}/infer")
async def infer(
    request: Request,
    settings: deps.SettingsDep,
    model: str,
    version: str | None = None,
    store: deps.StoreParam = True,
) -> Response:
    """Classify the rows of a tensor, or image files."""
    call = await Call.open(request, _versioned(model, version))
    header_length = _header_length(request)
    max_bytes = max(settings.max_batch_bytes, settings.max_bytes) if header_length else None
    body = await call.read(max_bytes)
    manifest = await call.manifest()
    arguments = body, header_length, manifest, settings.max_bytes
    # A length of a few digits: the body is mostly binary, which costs little to parse.
    if header_length and len(header_length) <= _INLINE_DIGITS and len(body) <= _INLINE_BYTES:
        parsed, rows, images = _parse(*arguments)
    else:
        parsed, rows, images = await call.parse(_parse, *arguments)
    if rows is not None:
        answers = await call.classify_rows(rows)
    else:
        name = IMAGE if len(images) > 1 else ""
        answers = await call.classify_images(images, name, store=store and parsed.store)
    model_name = AUTO if manifest is None else manifest.name
    content, json_length = await serialize(
        answers, lambda: outputs.make_response(parsed, model_name, answers)
    )
    if json_length is None:
        return Response(content, media_type="application/json")
    headers = {HEADER_LENGTH: str(json_length)}
    return Response(content, headers=headers, media_type="application/octet-stream")


def _parse(
    body: bytes | bytearray, header_length: str | None, manifest: Manifest | None, max_bytes: int
) -> tuple[InferRequest, Floats | None, list[bytes]]:
    """Return the request with its rows or its images; `manifest`: None for `auto`."""
    parsed = parse_request(body, header_length)
    outputs.require_outputs(parsed, [each["name"] for each in outputs.describe_outputs(manifest)])
    names = [each["name"] for each in outputs.describe_inputs(manifest)]
    for tensor in parsed.inputs:
        if tensor.name not in names:
            raise MalformedRequestError(
                f"{shown(tensor.name)}: the model has no such input. Send {' or '.join(names)}."
            )
    if len(parsed.inputs) > 1:
        raise MalformedRequestError(f"Send only one of the inputs {TENSOR} and {IMAGE}.")
    (tensor,) = parsed.inputs
    if tensor.name == IMAGE or manifest is None:
        return parsed, None, read_images(tensor, max_bytes)
    shape = manifest.preprocess.input_shape
    return parsed, read_rows(tensor, shape, takes_pixels=outputs.takes_pixels(manifest)), []


def _header_length(request: Request) -> str | None:
    values = request.headers.getlist(HEADER_LENGTH)
    if len(values) > 1:
        raise MalformedRequestError(f"{HEADER_LENGTH}: Send this header only once.")
    return values[0] if values else None


def _versioned(model: str, version: str | None) -> str:
    return model if version is None else f"{model}@{version}"


def _json(value: object) -> Response:
    return Response(orjson.dumps(value), media_type="application/json")
