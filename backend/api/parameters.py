"""Strict parsing of the numbers, truth values and times that clients send as text.

Python and pydantic accept far more than the API documents: `1_0`, `+5`, `٣`, `nan`, surrounding
spaces, and numbers as times. Numbers are written as in JSON here, and times as in RFC 3339.
"""

import math
import re
from collections import Counter
from collections.abc import Callable
from datetime import datetime
from typing import Final, TypeVar
from urllib.parse import parse_qsl

from fastapi import Request
from pydantic import BeforeValidator
from pydantic_core import PydanticCustomError

from backend.api.errors import InvalidParameterError

T = TypeVar("T")

_MAX_FIELDS: Final = 100  # parameters in a query
_MAX_NAME: Final = 64  # characters of a name in an error message
_INTEGER: Final = re.compile(r"-?(?:0|[1-9][0-9]{0,17})")
_NUMBER: Final = re.compile(r"-?(?:0|[1-9][0-9]{0,99})(?:\.[0-9]{1,99})?(?:[eE][+-]?[0-9]{1,3})?")
_TIME: Final = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}"
    r"(?:[Tt ][0-9]{2}:[0-9]{2}(?::[0-9]{2}(?:\.[0-9]{1,9})?)?(?:[Zz]|[+-][0-9]{2}:[0-9]{2})?)?"
)
_BOOLEANS: Final = {
    **dict.fromkeys(("true", "True", "1"), True),
    **dict.fromkeys(("false", "False", "0"), False),
}


def parse_integer(text: str) -> int:
    """Return an integer of at most 18 digits; raise ValueError for any other text."""
    if not _INTEGER.fullmatch(text):
        raise ValueError("not an integer")
    return int(text)


def parse_number(text: str) -> float:
    """Return a finite number that is written as in JSON; raise ValueError for any other text."""
    number = float(text) if _NUMBER.fullmatch(text) else math.nan
    if not math.isfinite(number):
        raise ValueError("not a finite number")
    return number


def parse_time(text: str) -> datetime:
    """Return a date, or a date and time with or without an offset; else raise ValueError."""
    if not _TIME.fullmatch(text):
        raise ValueError("not a time")
    return datetime.fromisoformat(text.upper())


def parse_boolean(text: str) -> bool:
    """Return a truth value; raise ValueError for any other text."""
    if text not in _BOOLEANS:
        raise ValueError("not a truth value")
    return _BOOLEANS[text]


def _validator(parse: Callable[[str], T], hint: str) -> BeforeValidator:
    def validate(text: str) -> T:
        try:
            return parse(text)
        except ValueError as error:
            raise PydanticCustomError("parameter", hint) from error

    return BeforeValidator(validate)


# Metadata for the type of a query parameter, as in Annotated[int, STRICT_INTEGER, Query(...)].
STRICT_INTEGER: Final = _validator(parse_integer, "must be an integer such as 5")
STRICT_BOOLEAN: Final = _validator(parse_boolean, "must be true or false")
STRICT_TIME: Final = _validator(
    parse_time, "must be a time such as 2026-01-31T12:00:00Z, or a date such as 2026-01-31"
)


async def check_query(request: Request) -> None:
    """Raise InvalidParameterError for a repeated parameter, or a query that is not valid UTF-8.

    Unknown parameters are ignored.
    """
    query: bytes = request.scope["query_string"]
    if not query:
        return
    try:
        names = [name for name, _ in _parse_query(query)]
    except ValueError as error:
        raise InvalidParameterError(
            f"The query is invalid. Send at most {_MAX_FIELDS} parameters, percent-encoded in "
            "UTF-8, without NUL characters."
        ) from error
    for name, count in Counter(names).items():
        if count > 1:
            raise InvalidParameterError(f"{name[:_MAX_NAME]}: Send this parameter only once.")


def _parse_query(query: bytes) -> list[tuple[str, str]]:
    """Return the names and values of a query; raise ValueError if it is invalid."""
    fields = parse_qsl(
        query.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=_MAX_FIELDS
    )
    if any("\0" in text for field in fields for text in field):
        raise ValueError("a NUL character")
    return fields
