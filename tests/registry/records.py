"""Versions of invented models."""

from collections.abc import Mapping
from typing import Any

from backend.registry.index import NewVersion
from backend.registry.registry import Registry

FILES = {"manifest.json": b"{}", "head.safetensors": b"weights"}
LABELS = ("ant", "bee")


def add(
    registry: Registry,
    name: str = "bugs",
    *,
    activate: bool = True,
    files: Mapping[str, bytes] = FILES,
    **fields: Any,
) -> int:
    """Store and publish a version; return its number."""
    new = NewVersion(**{"id": registry.store(files), "bytes": 100, "labels": LABELS} | fields)
    return registry.publish(name, new, activate=activate).version
