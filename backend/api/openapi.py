"""Completion of the OpenAPI document with the responses that every route can give."""

from typing import Any

from fastapi import FastAPI

from backend.api.schemas.errors import EVERY_ROUTE, Problem, problems


def complete_document(app: FastAPI) -> None:
    """Add the errors of the server and of the middleware to every operation of the document."""
    make_document = app.openapi

    def openapi() -> dict[str, Any]:
        document = make_document()
        schemas = document.setdefault("components", {}).setdefault("schemas", {})
        if Problem.__name__ not in schemas:  # else the document is complete already
            schemas[Problem.__name__] = Problem.model_json_schema()
            common = {str(status): value for status, value in problems(*EVERY_ROUTE).items()}
            for operations in document["paths"].values():
                for operation in operations.values():
                    operation["responses"] = dict(sorted((common | operation["responses"]).items()))
        return document

    app.openapi = openapi  # type: ignore[method-assign]
