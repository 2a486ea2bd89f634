"""PUT and DELETE /models/{name}, and the routes of versions."""

import asyncio
from collections.abc import Mapping
from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, Path, Query, Request

from backend.api.body import is_form, read_form
from backend.api.deps import CatalogDep
from backend.api.errors import (
    MalformedRequestError,
    MissingFileError,
    UnsupportedMediaTypeError,
)
from backend.api.json_body import parse_json, run_in_parser
from backend.api.parameters import STRICT_BOOLEAN, STRICT_INTEGER, check_query
from backend.api.schemas.errors import problems
from backend.api.schemas.registry import (
    ModelVersion,
    ModelVersions,
    model_version,
    model_versions,
)
from backend.api.scopes import API_KEY, require_scope
from backend.inference.errors import UnknownModelError
from backend.inference.models.artifact import NAME_PATTERN
from backend.keys import ApiKey
from backend.registry import uploads
from backend.registry.errors import InvalidModelError, ReservedNameError, StoreFullError
from backend.registry.index import ModelRecord, NewVersion
from backend.taught_models import TaughtModels

router = APIRouter(tags=["models"], dependencies=[require_scope("models"), Depends(check_query)])

_MAX_PARTS: Final = 10
_FORM_BYTES: Final = 100_000  # besides the parts
_MAX_BYTES: Final = sum(uploads.LIMITS.values()) + _FORM_BYTES
# More than a manifest may contain, so that the limit on labels is reported.
_MAX_JSON_VALUES: Final = 50_000

_PART: Final = {"type": "string", "format": "binary"}
_UPLOAD_BODY: Final[dict[str, Any]] = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["manifest", "head"],
                    "properties": {
                        "manifest": {**_PART, "description": "manifest.json"},
                        "head": {**_PART, "description": "head.safetensors"},
                        "card": {**_PART, "description": "README.md, the model card"},
                    },
                }
            }
        },
    },
}

NameParam = Annotated[str, Path(pattern=NAME_PATTERN, description="Name of the model.")]
VersionParam = Annotated[
    int, STRICT_INTEGER, Path(ge=1, le=10**9, description="Number of the version.")
]


async def _get_taught(catalog: CatalogDep) -> TaughtModels:
    if catalog.taught is None:  # only in tests
        raise UnknownModelError("This service has no registry.")
    return catalog.taught


async def _get_own_name(name: NameParam, catalog: CatalogDep) -> str:
    """Return the name of a taught model; raise ReservedNameError for one of the operator."""
    if catalog.is_reserved(name):
        raise ReservedNameError(
            "The name belongs to a model of the service's operator, or is reserved. Choose "
            "another name."
        )
    return name


TaughtDep = Annotated[TaughtModels, Depends(_get_taught)]
OwnNameDep = Annotated[str, Depends(_get_own_name)]


@router.put(
    "/models/{name}",
    status_code=201,
    responses=problems(409, 413, 415, 422),
    openapi_extra=_UPLOAD_BODY,
    summary="Add or replace a taught model",
)
async def put_model(
    request: Request,
    name: OwnNameDep,
    taught: TaughtDep,
    reason: Annotated[
        str | None, Query(max_length=500, description="Why the version is uploaded.")
    ] = None,
    activate: Annotated[
        bool, STRICT_BOOLEAN, Query(description="Whether requests for the name get this version.")
    ] = True,
) -> ModelVersion:
    """Store a new version: the parts `manifest`, `head` and `card` of a form.

    It is loaded before it is stored, so that it never replaces one that works if it does not.
    """
    parts = await _read_parts(request)
    document = await run_in_parser(_parse_manifest, parts["manifest"])
    manifest = uploads.read_manifest(document, name)
    files = await asyncio.to_thread(uploads.make_files, manifest, parts["head"], parts.get("card"))
    registry = taught.registry
    key: ApiKey | None = request.scope["state"].get(API_KEY)
    version_id = await asyncio.to_thread(registry.store, files)
    new = NewVersion(
        id=version_id,
        bytes=sum(map(len, files.values())),
        labels=manifest.labels,
        metrics=manifest.metrics,
        author=key.name if key else None,
        reason=reason,
    )
    try:
        await taught.check(name, await asyncio.to_thread(registry.folder, version_id))
        record = await asyncio.to_thread(registry.publish, name, new, activate=activate)
    except (InvalidModelError, StoreFullError):
        # After any other error the version may be published; if not, it is removed as an orphan.
        await asyncio.to_thread(registry.discard, version_id)
        raise
    await taught.refresh()
    request.state.model_name = name
    return model_version(name, record, record.version if activate else None)


@router.delete(
    "/models/{name}",
    status_code=204,
    responses=problems(404, 409, 422),
    summary="Delete a taught model",
)
async def delete_model(name: OwnNameDep, taught: TaughtDep) -> None:
    """Delete a taught model with all its versions."""
    await get_record(taught, name)
    await asyncio.to_thread(taught.registry.delete_model, name)
    await taught.refresh()


@router.get(
    "/models/{name}/versions",
    responses=problems(404, 409, 422),
    summary="List the versions of a taught model",
)
async def list_versions(name: OwnNameDep, taught: TaughtDep) -> ModelVersions:
    """List the versions with who uploaded them, when, why, and their figures."""
    return model_versions(name, await get_record(taught, name))


@router.post(
    "/models/{name}/versions/{version}/activate",
    responses=problems(404, 409, 422),
    summary="Activate a version",
)
async def activate_version(
    name: OwnNameDep, version: VersionParam, taught: TaughtDep
) -> ModelVersion:
    """Serve a version under the model's name, for instance the previous one. Idempotent.

    It is loaded first, so that it never replaces one that works if it does not.
    """
    registry = taught.registry
    record = (await asyncio.to_thread(registry.read)).get(name, version)
    await taught.check(name, await asyncio.to_thread(registry.folder, record.id))
    record = await asyncio.to_thread(registry.activate, name, version)
    await taught.refresh()
    return model_version(name, record, version)


@router.delete(
    "/models/{name}/versions/{version}",
    status_code=204,
    responses=problems(404, 409, 422),
    summary="Delete a version",
)
async def delete_version(name: OwnNameDep, version: VersionParam, taught: TaughtDep) -> None:
    """Delete a version that is not active."""
    await asyncio.to_thread(taught.registry.delete_version, name, version)
    await taught.refresh()


async def _read_parts(request: Request) -> Mapping[str, bytes]:
    """Return the parts of the form by name, within their limits; raise the errors of a body."""
    if not is_form(request):
        raise UnsupportedMediaTypeError(
            "Send the model as multipart/form-data, in the parts 'manifest', 'head' and 'card'."
        )
    parts: dict[str, bytes] = {}
    for part in await read_form(request, _MAX_BYTES, max(uploads.LIMITS.values()), _MAX_PARTS):
        if part.name not in ("manifest", "head", "card") or part.name in parts:
            raise MalformedRequestError(
                "The form may have the parts 'manifest', 'head' and 'card', each once, and no "
                "others."
            )
        if part.oversized:
            raise uploads.too_large_error(part.name)
        uploads.require_size(part.name, len(part.data))
        parts[part.name] = bytes(part.data)
    if missing := {"manifest", "head"} - parts.keys():
        raise MissingFileError(f"The form has no part '{min(missing)}'.")
    return parts


def _parse_manifest(content: bytes) -> object:
    try:
        return parse_json(content, max_values=_MAX_JSON_VALUES, max_arrays=_MAX_JSON_VALUES)
    except MalformedRequestError as error:
        raise InvalidModelError("The manifest is not valid JSON.") from error


async def get_record(taught: TaughtModels, name: str) -> ModelRecord:
    """Return the versions of a model; raise UnknownModelError if there are none."""
    index = await asyncio.to_thread(taught.registry.read)
    if name not in index.models:
        raise UnknownModelError("There is no taught model of this name. GET /models lists all.")
    return index.models[name]
