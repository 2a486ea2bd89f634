"""GET /models."""

from fastapi import APIRouter

from backend.api.deps import CatalogDep
from backend.api.schemas import Models, model_info

router = APIRouter(tags=["models"])


@router.get("/models", summary="What is served")
async def models(catalog: CatalogDep) -> Models:
    """List every served model with its labels, input, measured figures and state."""
    return Models(
        default=catalog.default, models=[model_info(entry) for entry in catalog.entries()]
    )
