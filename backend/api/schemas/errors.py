"""Response model of errors: RFC 9457 problem details."""

from pydantic import BaseModel, ConfigDict


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


PROBLEM_RESPONSES: dict[int | str, dict[str, object]] = {
    "4XX": {
        "description": "The request or its image is invalid; `code` identifies the error.",
        "content": {"application/problem+json": {"schema": Problem.model_json_schema()}},
    },
    "5XX": {
        "description": "The service is not ready, is shutting down, or has failed.",
        "content": {"application/problem+json": {"schema": Problem.model_json_schema()}},
    },
}
