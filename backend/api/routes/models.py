"""GET /models and GET /models/{name}."""

from fastapi import APIRouter, Depends, Request

from backend.api.deps import CatalogDep
from backend.api.parameters import check_query
from backend.api.schemas.errors import problems
from backend.api.schemas.models import (
    ModelDetail,
    ModelList,
    auto_detail,
    model_detail,
    model_info,
)
from backend.api.scopes import require_scope
from backend.catalog import AUTO

router = APIRouter(tags=["models"], dependencies=[require_scope("classify"), Depends(check_query)])


@router.head("/models", include_in_schema=False)
@router.get("/models", summary="List models", responses=problems(422))
async def list_models(catalog: CatalogDep) -> ModelList:
    """List the served models with their labels, input, metrics and state."""
    return ModelList(
        default=catalog.default,
        auto=list(catalog.auto) or None,
        store_is_temporary=bool(catalog.taught and catalog.taught.registry.is_temporary),
        models=[model_info(model) for model in catalog.models()],
    )


@router.head("/models/{name}", include_in_schema=False)
@router.get("/models/{name}", summary="Get a model", responses=problems(404, 422))
def get_model(request: Request, name: str, catalog: CatalogDep) -> ModelDetail:
    """Return a served model with its model card; `auto` describes the automatic choice."""
    if name == AUTO and catalog.auto:
        request.state.model_name = AUTO
        return auto_detail([catalog.get(each) for each in catalog.auto])
    model = catalog.get(name)
    request.state.model_name = model.name
    return model_detail(model)
