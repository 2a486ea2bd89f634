"""The description of a target."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

MAX_SECONDS: Final = 2.0  # CPU time for one input


@dataclass(frozen=True)
class Target:
    """One parser to fuzz.

    `run` gets bytes and must return, or raise one of its documented `errors`. Every other
    exception, a failed assertion, more than MAX_SECONDS or more than `memory` MB of growth of the
    resident memory during one input is a finding.
    """

    name: str
    run: Callable[[bytes], None]
    samples: Callable[[], Mapping[str, bytes]]
    errors: tuple[type[Exception], ...] = ()
    tokens: Sequence[bytes] = ()
    memory: int = 64
