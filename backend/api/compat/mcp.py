"""The Model Context Protocol: POST /mcp, through which assistants classify images.

The official SDK handles the messages, without sessions, so that any worker and instance can answer.
Keys, Host and Origin are checked by the middleware, as for every route.
"""

import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, Final

import mcp_types as types
import orjson
from fastapi import APIRouter, FastAPI, Request
from mcp.server.context import ServerRequestContext
from mcp.server.lowlevel import Server
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
from mcp.shared.exceptions import MCPError
from pydantic import ValidationError
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from backend import __version__
from backend.api import json_body
from backend.api.body import read_body
from backend.api.compat.mcp_tools import (
    IMAGE,
    ClassifyArguments,
    ClassifyResult,
    ListArguments,
    ListResult,
    classify_image,
    list_models,
)
from backend.api.compat.protocol import Problem, Protocol
from backend.api.errors import (
    BodyTooLargeError,
    MalformedRequestError,
    UnsupportedMediaTypeError,
    problem_for,
)
from backend.api.scopes import require_scope
from backend.settings import Settings

PATH: Final = "/mcp"

_JSON_TYPE: Final = "application/json"
_INSTRUCTIONS: Final = (
    "Classifies images with the models that this service serves. The images are not stored."
)
_ERROR_CODES: Final = {"malformed_request": types.PARSE_ERROR}

Tool = Callable[[Request, dict[str, Any]], Awaitable[dict[str, Any]]]

_HANDLERS: Final[dict[str, Tool]] = {
    "classify_image": classify_image,
    "list_models": list_models,
}
_READ_ONLY: Final = types.ToolAnnotations(
    read_only_hint=True, idempotent_hint=True, open_world_hint=False
)
_TOOLS: Final = [
    types.Tool(
        name="classify_image",
        title="Classify an image",
        description="Classify an image: return the most probable labels with calibrated "
        "probabilities, and whether the image shows one of the model's classes at all.",
        input_schema=ClassifyArguments.model_json_schema(),
        output_schema=ClassifyResult.model_json_schema(),
        annotations=_READ_ONLY,
    ),
    types.Tool(
        name="list_models",
        title="List the models",
        description="List the models that can classify images, with their labels.",
        input_schema=ListArguments.model_json_schema(),
        output_schema=ListResult.model_json_schema(),
        annotations=_READ_ONLY,
    ),
]


def create(settings: Settings) -> Protocol:
    """Return the route of the protocol."""
    max_bytes = (
        settings.max_bytes * 4 // 3 + json_body.MAX_BYTES
    )  # an image in base64, and the rest
    managers: list[StreamableHTTPSessionManager] = []  # one while the application runs

    @asynccontextmanager
    async def run(_: FastAPI) -> AsyncIterator[None]:
        # The middleware checks Host and Origin, by PRISM_ALLOWED_HOSTS.
        manager = StreamableHTTPSessionManager(
            _create_server(), stateless=True, json_response=True, max_request_body_size=max_bytes
        )
        async with manager.run():
            managers.append(manager)
            try:
                yield
            finally:
                managers.clear()

    router = APIRouter(dependencies=[require_scope("classify")], lifespan=run)

    @router.post(PATH)
    async def handle(request: Request) -> Response:
        # The SDK would send an error in plain text.
        if not request.headers.get("content-type", "").lower().startswith(_JSON_TYPE):
            raise UnsupportedMediaTypeError(f"Send the message with Content-Type {_JSON_TYPE}.")
        body = await read_body(request, max_bytes)
        rest, image = await json_body.run_in_parser(_take_image, body)
        if image is not None:
            request.scope["state"][IMAGE] = image
        return _MessageResponse(managers[0], rest)

    return Protocol(router, paths=(PATH,), error_body=_error_body)


class _MessageResponse(Response):
    """The response of the SDK to the message `body`."""

    def __init__(self, manager: StreamableHTTPSessionManager, body: bytes) -> None:
        super().__init__()
        self._manager = manager
        self._message: Message | None = {"type": "http.request", "body": body, "more_body": False}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let the SDK handle the message."""

        async def receive_message() -> Message:
            message, self._message = self._message, None
            return message or await receive()

        await self._manager.handle_request(scope, receive_message, send)


def _create_server() -> Server[Any]:
    # The SDK logs every request; the access log has them.
    logging.getLogger("mcp.server").setLevel(logging.WARNING)
    return Server(
        "prism",
        version=__version__,
        title="Prism",
        instructions=_INSTRUCTIONS,
        on_list_tools=_list_tools,
        on_call_tool=_call_tool,
    )


async def _list_tools(
    context: ServerRequestContext[Any], params: types.PaginatedRequestParams | None
) -> types.ListToolsResult:
    return types.ListToolsResult(tools=_TOOLS)


async def _call_tool(
    context: ServerRequestContext[Any], params: types.CallToolRequestParams
) -> types.CallToolResult:
    handler = _HANDLERS.get(params.name)
    if handler is None:
        known = ", ".join(_HANDLERS)
        raise MCPError(types.INVALID_PARAMS, f"There is no such tool. The tools are {known}.")
    request = context.request
    assert isinstance(request, Request)  # noqa: S101
    try:
        result = await handler(request, params.arguments or {})
    except ClientDisconnect:
        return _tool_result("The client disconnected.", is_error=True)  # nobody reads it
    except Exception as error:
        problem = problem_for(error, request.state.request_id)
        return _tool_result(str(problem["detail"]), is_error=True)
    # NumPy numbers become numbers of JSON.
    text = orjson.dumps(result, option=orjson.OPT_SERIALIZE_NUMPY)
    return _tool_result(text.decode(), structured_content=orjson.loads(text))


def _tool_result(text: str, **fields: Any) -> types.CallToolResult:
    return types.CallToolResult(content=[types.TextContent(type="text", text=text)], **fields)


def _take_image(body: bytes | bytearray) -> tuple[bytes, str | None]:
    """Return a message without its image, and the image in base64.

    The SDK parses messages on the event loop and copies them: it gets small ones. Raise
    BodyTooLargeError if the rest is larger than 1 MiB, and MalformedRequestError if it is no
    message: the SDK would send pydantic's text to the client.
    """
    message = json_body.parse_json(body)
    arguments = None
    if isinstance(message, dict) and isinstance(params := message.get("params"), dict):
        arguments = params.get("arguments")
    image = None
    if isinstance(arguments, dict) and isinstance(arguments.get("image"), str):
        image, arguments["image"] = arguments["image"], arguments["image"][:1]
        body = orjson.dumps(message)
    if len(body) > json_body.MAX_BYTES:
        raise BodyTooLargeError(
            f"The message is larger than {json_body.MAX_BYTES:,} bytes besides the image."
        )
    try:
        types.jsonrpc_message_adapter.validate_python(message)
    except ValidationError as error:
        raise MalformedRequestError(
            'The body is no message of JSON-RPC 2.0, such as {"jsonrpc": "2.0", "id": 1, '
            '"method": "tools/list"}.'
        ) from error
    return bytes(body), image


def _error_body(problem: Problem) -> dict[str, Any]:
    """Return an error of JSON-RPC; the request's ID is not known."""
    code = _ERROR_CODES.get(problem["code"], types.INVALID_REQUEST)
    data = {name: problem[name] for name in ("status", "code", "request_id")}
    error = {"code": code, "message": problem["detail"], "data": data}
    return {"jsonrpc": "2.0", "id": None, "error": error}
