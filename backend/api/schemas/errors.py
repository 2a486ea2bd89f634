"""Response model of errors: RFC 9457 problem details."""

from http import HTTPStatus
from typing import Any, Final

from pydantic import BaseModel, ConfigDict

from backend.api.errors import PROBLEM_TYPE


class Problem(BaseModel):
    """RFC 9457 problem details; `code` identifies the error."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "type": "urn:prism:problem:broken_image",
                "title": "Bad Request",
                "status": 400,
                "detail": "The image is damaged and could not be read. Save it again and send "
                "the new file.",
                "code": "broken_image",
                "request_id": "01JD3YV5K7Q4M8W2X6Z9B1C0DE",
            }
        }
    )

    type: str
    title: str
    status: int
    detail: str
    code: str
    request_id: str


# Statuses with which the server and the middleware can answer any request.
EVERY_ROUTE: Final = (400, 401, 403, 408, 414, 421, 429, 431, 500, 503)
# Further statuses of routes that classify what is in the body.
CLASSIFYING: Final = (404, 413, 415, 422, 504)


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return the documentation of error responses, for the argument `responses` of a route.

    Those of EVERY_ROUTE are added to all routes; see backend/api/openapi.py.
    """
    schema = {"$ref": f"#/components/schemas/{Problem.__name__}"}
    return {
        status: {
            "description": f"{HTTPStatus(status).phrase}; `code` identifies the error.",
            "content": {PROBLEM_TYPE: {"schema": schema}},
        }
        for status in statuses
    }
