"""GET /models and GET /models/{name}."""

from fastapi import APIRouter, Request

from backend.api.deps import CatalogDep
from backend.api.schemas.errors import PROBLEM_RESPONSES
from backend.api.schemas.models import (
    ModelDetail,
    ModelList,
    auto_detail,
    model_detail,
    model_info,
)
from backend.api.scopes import require_scope
from backend.catalog import AUTO

router = APIRouter(tags=["models"], dependencies=[require_scope("classify")])


@router.get("/models", summary="List models")
async def list_models(catalog: CatalogDep) -> ModelList:
    """List the served models with their labels, input, metrics and state."""
    return ModelList(
        default=catalog.default,
        auto=list(catalog.auto) or None,
        models=[model_info(entry) for entry in catalog.entries()],
    )


@router.get("/models/{name}", summary="Get a model", responses=PROBLEM_RESPONSES)
def get_model(request: Request, name: str, catalog: CatalogDep) -> ModelDetail:
    """Return a served model with its model card; `auto` describes the automatic choice."""
    if name == AUTO and catalog.auto:
        request.state.model_name = AUTO
        return auto_detail([catalog.entry(each) for each in catalog.auto])
    entry = catalog.entry(name)
    request.state.model_name = entry.name
    return model_detail(entry)
