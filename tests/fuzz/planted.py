"""Targets with planted defects, for the test of the campaign."""

import os
from typing import Final

from tests.fuzz.target import Target

_SAMPLE: Final = b"a sample of some bytes" * 4
_kept: list[bytearray] = []


def _raise_error(data: bytes) -> None:
    if len(data) % 2:
        raise KeyError("planted")


def _raise_documented(data: bytes) -> None:
    raise ValueError("documented")


def _exit(data: bytes) -> None:
    if b"!" in data:
        os._exit(11)


def _allocate(data: bytes) -> None:
    if data != _SAMPLE:
        try:
            bytearray(10_000_000_000)
        except MemoryError as error:
            raise ValueError("documented") from error


def _grow(data: bytes) -> None:
    _kept[:] = [bytearray(b"1") * 30_000_000] if b"!" in data else []


def _hang(data: bytes) -> None:
    while data != _SAMPLE:
        pass


TARGETS: Final = {
    target.name: target
    for target in (
        Target("error", _raise_error, lambda: {"sample": _SAMPLE}),
        Target("documented", _raise_documented, lambda: {"sample": _SAMPLE}, (ValueError,)),
        Target("exit", _exit, lambda: {"sample": _SAMPLE}, tokens=(b"!",)),
        Target("allocate", _allocate, lambda: {"sample": _SAMPLE}, (ValueError,)),
        Target("grow", _grow, lambda: {"sample": _SAMPLE}, tokens=(b"!",), memory=20),
        Target("hang", _hang, lambda: {"sample": _SAMPLE}),
    )
}


def stop() -> None:
    """Stop nothing."""
