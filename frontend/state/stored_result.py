"""A result in the page's store. Imports neither Streamlit nor SQLAlchemy."""

from dataclasses import dataclass
from typing import Literal

State = Literal["running", "done", "failed", "interrupted"]


class PackingError(ValueError):
    """The bytes are damaged, or another version of the page wrote them."""


class StoreError(Exception):
    """The database does not respond, or refuses the statement."""


class TooLargeError(StoreError):
    """A result is larger than all results may be together."""


@dataclass(frozen=True, slots=True)
class StoredResult:
    """A stored job. `done` of `total` steps were done; `content` is None without a result.

    `state` is "interrupted" if the process that ran the job has stopped.
    """

    state: State
    title: str
    done: int = 0
    total: int = 0
    content: bytes | None = None
