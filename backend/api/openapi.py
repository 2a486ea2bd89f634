"""The OpenAPI document: completed with the responses of every route, and rendered once."""

import asyncio
import threading
from typing import Any, Final

import orjson
from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import Response

from backend.api.schemas.embed import Embedding
from backend.api.schemas.errors import EVERY_ROUTE, Problem, problems

DOCUMENT_PATH: Final = "/openapi.json"


def serve_document(app: FastAPI) -> None:
    """Add the route of the document, which FastAPI would render for every request."""
    lock = threading.Lock()
    rendered: list[bytes] = []

    def render() -> bytes:
        with lock:
            if not rendered:
                rendered.append(orjson.dumps(app.openapi()))
            return rendered[0]

    async def document(_: Request) -> Response:
        # The first rendering takes half a second.
        content = rendered[0] if rendered else await asyncio.to_thread(render)
        return Response(content, media_type="application/json")

    app.add_route(DOCUMENT_PATH, document, include_in_schema=False)


def complete_document(app: FastAPI) -> None:
    """Add the errors of the server and of the middleware to every operation of the document."""
    make_document = app.openapi

    def openapi() -> dict[str, Any]:
        document = make_document()
        schemas = document.setdefault("components", {}).setdefault("schemas", {})
        if Problem.__name__ not in schemas:  # else the document is complete already
            for schema in (Problem, Embedding):  # to which FastAPI finds no reference
                found = schema.model_json_schema(ref_template="#/components/schemas/{model}")
                schemas |= found.pop("$defs", {}) | {schema.__name__: found}
            common = {str(status): value for status, value in problems(*EVERY_ROUTE).items()}
            for operations in document["paths"].values():
                for operation in operations.values():
                    operation["responses"] = dict(sorted((common | operation["responses"]).items()))
        return document

    app.openapi = openapi  # type: ignore[method-assign]
