"""GET /models/{name}/export."""

import asyncio
import re
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Annotated, Final, Literal

from fastapi import APIRouter, Depends, Query, Request
from starlette.responses import Response

from backend.api.deps import CatalogDep
from backend.api.model_export import export_model, zip_folder
from backend.api.parameters import STRICT_BOOLEAN, check_query
from backend.api.schemas.errors import problems
from backend.api.scopes import require_scope
from backend.catalog import Catalog
from backend.inference.errors import NotTaughtError
from backend.inference.models.artifact import Artifact
from backend.served_model import ServedModel

router = APIRouter(tags=["models"], dependencies=[require_scope("models"), Depends(check_query)])

# One at a time: an export takes several times the memory of the backbone.
_EXPORTER: Final = ThreadPoolExecutor(1, thread_name_prefix="prism-export")
_ZIP: Final = {"application/zip": {"schema": {"type": "string", "format": "binary"}}}


@router.get(
    "/models/{name}/export",
    response_class=Response,
    responses={**problems(404, 422, 501), 200: {"content": _ZIP, "description": "The zip."}},
    summary="Export a taught model",
)
async def export(
    request: Request,
    name: str,
    catalog: CatalogDep,
    format: Annotated[  # noqa: A002 (the name in the URL)
        Literal["onnx", "folder"],
        Query(description="A graph with the backbone, or the files of the taught model itself."),
    ] = "onnx",
    softmax: Annotated[
        bool,
        STRICT_BOOLEAN,
        Query(description="Whether the graph returns probabilities instead of logits."),
    ] = False,
    temperature: Annotated[
        bool,
        STRICT_BOOLEAN,
        Query(description="Whether the graph divides logits by the temperature: calibrated."),
    ] = False,
) -> Response:
    """Return a zip of `model.onnx`, which includes the backbone, the labels and the model card.

    With `softmax` and `temperature`, the graph returns the probabilities that the service does.
    With `format=folder`, return `manifest.json`, `head.safetensors` and the card as they are
    stored. `name` may be `name@version`.
    """
    model = catalog.get(name)
    request.state.model_name = model.name
    taught = await _get_artifact(model)
    backbone = await _get_backbone(taught, catalog)
    if format == "folder":
        make = partial(zip_folder, taught)
    else:
        make = partial(export_model, taught, backbone, softmax=softmax, temperature=temperature)
    content = await asyncio.wrap_future(_EXPORTER.submit(make))
    version = re.sub(r"[^\w.-]", "-", taught.manifest.version, flags=re.ASCII)  # any text
    filename = f"{model.name}-{version}.zip"
    return Response(
        content,
        media_type="application/zip",
        headers={"Content-Disposition": f'attachment; filename="{filename}"'},
    )


async def _get_artifact(model: ServedModel) -> Artifact:
    """Return the verified folder of a model; raise ModelNotReadyError without one."""
    await model.get_manifest()
    assert model.artifact is not None  # noqa: S101
    return model.artifact


async def _get_backbone(taught: Artifact, catalog: Catalog) -> Artifact:
    backbone = taught.manifest.backbone
    if backbone is None:
        raise NotTaughtError(
            "Only taught models can be exported. The files of other models are in their folder."
        )
    return await _get_artifact(catalog.get(backbone.name))
