"""REST protocol of TensorFlow Serving: https://www.tensorflow.org/tfx/serving/api_rest.

A model has one signature, `serving_default`, with one input and one output: the probabilities.
`versions/{v}` is the version in the model's manifest, or a version of a taught model.
"""

from collections.abc import Mapping
from typing import Any, Final

import orjson
from fastapi import APIRouter, Depends, Request
from starlette.responses import Response

from backend.api import deps
from backend.api.compat import instances
from backend.api.compat.calls import Call, serialize
from backend.api.compat.inference_outputs import Answer
from backend.api.compat.protocol import Protocol
from backend.api.errors import MalformedRequestError
from backend.api.parameters import check_query
from backend.api.scopes import require_scope
from backend.inference.models.artifact import Manifest
from backend.inference.types import Floats
from backend.settings import Settings

PATH: Final = "/v1/models"

_SIGNATURE: Final = "serving_default"
_STATES: Final = {"ready": "AVAILABLE", "loading": "LOADING", "failed": "END"}
_OUTPUTS: Final = {"instances": "predictions", "inputs": "outputs"}
_EXAMPLES: Final = "examples"
_STRING, _FLOAT = "DT_STRING", "DT_FLOAT"

router = APIRouter(
    prefix=PATH + "/{model}", dependencies=[require_scope("classify"), Depends(check_query)]
)


def create(_: Settings) -> Protocol:
    """Return the routes of the protocol."""
    return Protocol(router, (PATH,))


@router.get("")
@router.get("/versions/{version}")
async def status(catalog: deps.CatalogDep, model: str, version: str | None = None) -> Response:
    """Return the state of the model, or of each model that `auto` asks."""
    found = [catalog.get(name) for name in catalog.resolve(_versioned(model, version))]
    states = [
        {
            "version": each.manifest.version if each.manifest else version or "",
            "state": _STATES[each.state],
            "status": {
                "error_code": "UNKNOWN" if each.error else "OK",
                "error_message": each.error or "",
            },
        }
        for each in found
    ]
    return _json({"model_version_status": states})


@router.get("/metadata")
@router.get("/versions/{version}/metadata")
async def metadata(catalog: deps.CatalogDep, model: str, version: str | None = None) -> Response:
    """Return the signature of the model: encoded images in, probabilities out."""
    names = catalog.resolve(_versioned(model, version))
    manifests = [await catalog.get(name).get_manifest() for name in names]
    labels = len(manifests[0].labels) if len(manifests) == 1 else -1
    signature = {
        "inputs": {"image": _tensor("image:0", _STRING, [-1])},
        "outputs": {"probabilities": _tensor("probabilities:0", _FLOAT, [-1, labels])},
        "method_name": "tensorflow/serving/predict",
        "defaults": {},
    }
    spec = {
        "name": model,
        "signature_name": "",
        "version": manifests[0].version if len(manifests) == 1 else "",
    }
    signatures = {"signature_def": {_SIGNATURE: signature}}
    return _json({"model_spec": spec, "metadata": {"signature_def": signatures}})


@router.post(":predict")
@router.post("/versions/{version}:predict")
async def predict(
    request: Request, model: str, version: str | None = None, store: deps.StoreParam = True
) -> Response:
    """Return the probabilities of `instances` as rows, or of `inputs` as a column."""
    call = await Call.open(request, _versioned(model, version))
    name, inputs = await call.parse(_parse_predict, await call.read(), await call.manifest())
    answers = await call.classify(inputs, name, store=store)
    field = _OUTPUTS[name]
    return await serialize(
        answers, lambda: _json({field: [each.result.probabilities for each in answers]})
    )


@router.post(":classify")
@router.post("/versions/{version}:classify")
async def classify(
    request: Request, model: str, version: str | None = None, store: deps.StoreParam = True
) -> Response:
    """Return the labels of `examples` with their probabilities, the most probable first."""
    call = await Call.open(request, _versioned(model, version))
    inputs = await call.parse(_parse_classify, await call.read(), await call.manifest())
    answers = await call.classify(inputs, _EXAMPLES, store=store)
    return await serialize(
        answers, lambda: _json({"results": [_label_scores(each) for each in answers]})
    )


def _parse_predict(
    body: bytes | bytearray, manifest: Manifest | None
) -> tuple[str, list[bytes] | Floats]:
    """Return the field of the body, `instances` or `inputs`, and its values."""
    fields = instances.parse_object(body)
    _check_signature(fields)
    names = [name for name in _OUTPUTS if name in fields]
    if len(names) != 1:
        raise MalformedRequestError("Send either instances (rows) or inputs (columns).")
    (name,) = names
    values = _read_column(fields[name]) if name == "inputs" else instances.get_list(fields, name)
    return name, instances.read_instances(values, name, manifest)


def _parse_classify(body: bytes | bytearray, manifest: Manifest | None) -> list[bytes] | Floats:
    fields = instances.parse_object(body)
    _check_signature(fields)
    values = instances.get_list(fields, _EXAMPLES)
    return instances.read_instances(values, _EXAMPLES, manifest)


def _read_column(value: object) -> list[Any]:
    """Return the values of the only input: a list, one image, or an object that names the input."""
    if isinstance(value, dict) and "b64" not in value:
        if len(value) != 1:
            raise MalformedRequestError("inputs: the model has one input. Send its values only.")
        (value,) = value.values()
    if isinstance(value, str | dict):
        return [value]
    return instances.get_list({"inputs": value}, "inputs")


def _check_signature(fields: Mapping[str, Any]) -> None:
    if fields.get("signature_name", _SIGNATURE) not in (_SIGNATURE, ""):
        raise MalformedRequestError(f"signature_name: must be {_SIGNATURE}, or be omitted.")


def _label_scores(answer: Answer) -> list[tuple[str, float]]:
    result = answer.result
    labels = [result.labels[index] for index in result.ranking.tolist()]
    return list(zip(labels, result.probabilities[result.ranking].tolist(), strict=True))


def _tensor(name: str, dtype: str, sizes: list[int]) -> dict[str, Any]:
    shape = {"dim": [{"size": str(size), "name": ""} for size in sizes], "unknown_rank": False}
    return {"dtype": dtype, "tensor_shape": shape, "name": name}


def _versioned(model: str, version: str | None) -> str:
    return model if version is None else f"{model}@{version}"


def _json(value: object) -> Response:
    content = orjson.dumps(value, option=orjson.OPT_SERIALIZE_NUMPY)
    return Response(content, media_type="application/json")
