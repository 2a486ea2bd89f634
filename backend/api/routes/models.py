"""GET /models, GET /models/{name}."""

from fastapi import APIRouter, Request

from backend.api.deps import CatalogDep
from backend.api.schemas.classify import (
    PROBLEM_RESPONSES,
    ModelDetail,
    Models,
    model_detail,
    model_info,
)

router = APIRouter(tags=["models"])


@router.get("/models", summary="What is served")
async def models(catalog: CatalogDep) -> Models:
    """List every served model with its labels, input, measured figures and state."""
    return Models(
        default=catalog.default, models=[model_info(entry) for entry in catalog.entries()]
    )


@router.get("/models/{name}", summary="One model, with its card", responses=PROBLEM_RESPONSES)
def model(request: Request, name: str, catalog: CatalogDep) -> ModelDetail:
    """Tell all that is known of one served model."""
    entry = catalog.entry(name)
    request.state.model_name = entry.name
    return model_detail(entry)
