"""Fields of JSON, checked: whatever does not fit is an InvalidAnswer that names the field."""

import json
import math
from collections.abc import Callable
from typing import Any, TypeVar

from client.errors import InvalidAnswer

Object = dict[str, Any]
T = TypeVar("T")


def parse_object(text: str | bytes) -> Object:
    """Read one JSON object."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as exc:
        raise InvalidAnswer("the answer is not JSON") from exc
    return as_object(value, "the answer")


def optional(obj: Object, field: str, parse: Callable[[Any, str], T]) -> T | None:
    """Read a field that may be null or absent."""
    value = obj.get(field)
    return None if value is None else parse(value, field)


def as_object(value: Any, field: str) -> Object:
    """Check that it is an object."""
    if not isinstance(value, dict):
        raise InvalidAnswer(f"{field} is not an object")
    return value


def as_list(value: Any, field: str) -> list[Any]:
    """Check that it is a list."""
    if not isinstance(value, list):
        raise InvalidAnswer(f"{field} is not a list")
    return value


def as_text(value: Any, field: str) -> str:
    """Check that it is text."""
    if not isinstance(value, str):
        raise InvalidAnswer(f"{field} is not text")
    return value


def as_texts(value: Any, field: str) -> tuple[str, ...]:
    """Read a list of texts."""
    return tuple(as_text(item, field) for item in as_list(value, field))


def words(value: Any) -> str:
    """Return it where it is text, else ""."""
    return value if isinstance(value, str) else ""


def as_flag(value: Any, field: str) -> bool:
    """Check that it is true or false."""
    if not isinstance(value, bool):
        raise InvalidAnswer(f"{field} is neither true nor false")
    return value


def is_number(value: Any) -> bool:
    """Tell whether it is a finite number."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def as_number(value: Any, field: str) -> float:
    """Read a finite number."""
    if not is_number(value):
        raise InvalidAnswer(f"{field} is not a number")
    return float(value)


def as_share(value: Any, field: str) -> float:
    """Read a number within [0, 1], but for rounding."""
    number = as_number(value, field)
    if not -1e-3 <= number <= 1 + 1e-3:
        raise InvalidAnswer(f"{field} is not within [0, 1]")
    return min(1.0, max(0.0, number))


def as_shares(value: Any, field: str) -> tuple[float, ...]:
    """Read a list of such numbers."""
    return tuple(as_share(item, field) for item in as_list(value, field))
