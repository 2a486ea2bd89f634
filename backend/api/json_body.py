"""Parsing of JSON bodies with a bounded cost.

orjson holds the interpreter's lock while it parses, so that nothing else runs, and an array of two
bytes takes 64 bytes of memory. What a body would become is therefore counted before it is parsed.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, ParamSpec, TypeVar

import orjson
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ValidationError

from backend.api.errors import BodyTooLargeError, MalformedRequestError

P = ParamSpec("P")
T = TypeVar("T")
M = TypeVar("M", bound=BaseModel)

MAX_BYTES: Final = 1_048_576  # of a JSON or base64 body, unless the route states another limit
_MAX_ITEMS: Final = 1_000

# One thread, so that the memory of one parsed body is needed at a time.
_PARSER: Final = ThreadPoolExecutor(1, thread_name_prefix="prism-json")


async def run_in_parser(parse: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Call `parse` in the thread that parses bodies, one at a time."""
    return await asyncio.wrap_future(_PARSER.submit(parse, *args, **kwargs))


def parse_model(model: type[M], body: bytes | bytearray) -> M:
    """Parse a short JSON body as a model; raise RequestValidationError."""
    try:
        return model.model_validate_json(body)
    except ValidationError as error:
        errors = error.errors(include_url=False, include_context=False, include_input=False)
        raise RequestValidationError(
            [{**one, "loc": ("body", *(one["loc"] or ("body",)))} for one in errors]
        ) from error


def parse_json(
    body: bytes | bytearray, *, max_values: int = _MAX_ITEMS, max_arrays: int = _MAX_ITEMS
) -> Any:
    """Parse JSON of at most `max_values` values, `max_arrays` arrays and 1,000 objects.

    Characters are counted, also those in strings: a comma stands for a value. Raise
    BodyTooLargeError above a limit, and MalformedRequestError, with the JSONDecodeError as its
    cause, for invalid JSON.
    """
    limits = (
        (b"{", "objects", _MAX_ITEMS),
        (b":", "fields", _MAX_ITEMS),
        (b'"', "strings", 2 * (max_values + _MAX_ITEMS)),
        (b"[", "arrays", max_arrays),
        (b",", "values", max_values),
    )
    for character, noun, limit in limits:
        if body.count(character) > limit:
            raise BodyTooLargeError(
                f"The JSON has too many {noun}: more than {limit:,} times the character "
                f"{character.decode()}. Send less at a time."
            )
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise MalformedRequestError("The body is not valid JSON.") from error
