"""The task `image-classification` of Hugging Face's Inference API and Inference Endpoints.

https://huggingface.co/docs/inference-providers/tasks/image-classification, as
`huggingface_hub.InferenceClient(...).image_classification(image, model=URL)` sends it.
"""

from typing import Any, Final

from fastapi import APIRouter, Depends, Request

from backend.api import deps
from backend.api.compat import instances
from backend.api.compat.calls import Call
from backend.api.compat.protocol import Protocol
from backend.api.errors import MalformedRequestError
from backend.api.parameters import check_query
from backend.api.scopes import require_scope
from backend.inference.models.artifact import Manifest
from backend.settings import Settings
from calibration.sigmoid import SINGLE_LABEL

PATH: Final = "/huggingface"

_TOP_K: Final = 5  # of the task, unless a request says otherwise
_MAX_TOP_K: Final = 10_000

router = APIRouter(dependencies=[require_scope("classify"), Depends(check_query)])


def create(_: Settings) -> Protocol:
    """Return the routes of the protocol."""
    return Protocol(router, (PATH,))


@router.post(PATH + "/{model}")
@router.post(PATH + "/{model}/")
async def image_classification(
    request: Request, model: str, store: deps.StoreParam = True
) -> list[dict[str, Any]]:
    """Classify the image in the body, or in the field `inputs` of a JSON body."""
    call = await Call.open(request, model)
    image, top_k = bytes(await call.read()), _TOP_K
    if image[:100].lstrip()[:1] == b"{":  # no image file starts so; not all send a Content-Type
        image, top_k = await call.parse(_parse, image, await call.manifest())
    (answer,) = await call.classify_images([image], store=store)
    return [{"label": each.label, "score": each.probability} for each in answer.result.top(top_k)]


def _parse(body: bytes, manifest: Manifest | None) -> tuple[bytes, int]:
    """Return the image and `top_k`; raise MalformedRequestError."""
    fields = instances.parse_object(body)
    parameters = fields.get("parameters") or {}
    if not isinstance(parameters, dict):
        raise MalformedRequestError("parameters: must be an object.")
    top_k = parameters.get("top_k")
    top_k = _TOP_K if top_k is None else top_k
    if type(top_k) is not int or not 1 <= top_k <= _MAX_TOP_K:
        raise MalformedRequestError(
            f"parameters.top_k: must be an integer from 1 to {_MAX_TOP_K:,}."
        )
    function = "softmax" if manifest is None or manifest.task == SINGLE_LABEL else "sigmoid"
    if parameters.get("function_to_apply") not in (None, function):
        raise MalformedRequestError(
            f"parameters.function_to_apply: must be {function}, or be omitted: the scores are "
            "calibrated probabilities."
        )
    if "inputs" not in fields:
        raise MalformedRequestError("inputs: must be an image in base64.")
    return instances.decode_image(fields["inputs"], "inputs"), top_k
