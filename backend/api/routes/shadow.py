"""GET, PUT and DELETE /models/{name}/shadow: a version that answers without being returned."""

import asyncio
from typing import TYPE_CHECKING, Annotated, Any, Final

from fastapi import APIRouter, Depends, Request

from backend.api.body import read_body
from backend.api.deps import HistoryDep
from backend.api.json_body import parse_model
from backend.api.parameters import check_query
from backend.api.routes.registry import OwnNameDep, TaughtDep, get_record
from backend.api.schemas.errors import problems
from backend.api.schemas.shadow import Shadow, ShadowSettings, make_shadow
from backend.api.scopes import require_scope
from backend.history.errors import HistoryOffError
from backend.history.history import History
from backend.registry.errors import NoShadowError
from backend.taught_models import TaughtModels

if TYPE_CHECKING:
    from backend.history.store import Store

router = APIRouter(tags=["models"], dependencies=[require_scope("models"), Depends(check_query)])

_MAX_BYTES: Final = 1_000
_BODY: Final[dict[str, Any]] = {
    "requestBody": {
        "required": True,
        "content": {"application/json": {"schema": ShadowSettings.model_json_schema()}},
    }
}


async def _get_history(history: HistoryDep) -> History:
    if history is None:
        raise HistoryOffError(" A shadow needs it: the results of both versions are stored there.")
    return history


RequiredHistoryDep = Annotated[History, Depends(_get_history)]


@router.put(
    "/models/{name}/shadow",
    responses=problems(404, 409, 413, 422),
    openapi_extra=_BODY,
    summary="Make a version the shadow",
)
async def set_shadow(
    request: Request, name: OwnNameDep, taught: TaughtDep, history: RequiredHistoryDep
) -> Shadow:
    """Let a version that is not active classify a share of the images, without returning it.

    If it is the shadow already, only the share changes. It is loaded first.
    """
    settings = parse_model(ShadowSettings, await read_body(request, _MAX_BYTES))
    registry, store = taught.registry, history.store
    record = (await asyncio.to_thread(registry.read)).get(name, settings.version)
    await taught.check(name, await asyncio.to_thread(registry.folder, record.id))
    await asyncio.to_thread(registry.set_shadow, name, settings.version, settings.share)
    await taught.refresh()
    return await _compare(name, taught, store)


@router.get(
    "/models/{name}/shadow",
    responses=problems(404, 409, 422),
    summary="Compare the shadow with the active version",
)
async def get_shadow(name: OwnNameDep, taught: TaughtDep, history: HistoryDep) -> Shadow:
    """Compare both versions on the images of all workers and instances since the start.

    Answers are equal if both are the same label, or that the image is none of the classes.
    """
    if (await get_record(taught, name)).shadow is None:
        raise NoShadowError
    return await _compare(name, taught, (await _get_history(history)).store)


@router.delete(
    "/models/{name}/shadow",
    status_code=204,
    responses=problems(404, 409, 422),
    summary="End the shadow",
)
async def remove_shadow(name: OwnNameDep, taught: TaughtDep) -> None:
    """End the shadow of a model. Idempotent."""
    await get_record(taught, name)
    await asyncio.to_thread(taught.registry.remove_shadow, name)
    await taught.refresh()


async def _compare(name: str, taught: TaughtModels, store: "Store") -> Shadow:
    model = await get_record(taught, name)
    if model.shadow is None or model.active is None:
        raise NoShadowError
    comparison = await asyncio.to_thread(
        store.compare_shadow,
        name,
        str(model.active),
        str(model.shadow.version),
        model.shadow.since,
    )
    return make_shadow(name, model.shadow, model.active, comparison)
