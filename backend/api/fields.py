"""Header fields of a request, for code that runs for every request."""

from typing import Final

from starlette.types import Scope

_FIELDS: Final = "header_fields"  # key of a request's state


def fields_of(scope: Scope) -> dict[bytes, bytes]:
    """Return the header fields by lower-case name; of a repeated field, the first value.

    The fields are indexed once for each request.
    """
    state = scope.setdefault("state", {})
    fields: dict[bytes, bytes] | None = state.get(_FIELDS)
    if fields is None:
        fields = state[_FIELDS] = dict(reversed(scope["headers"]))
    return fields
