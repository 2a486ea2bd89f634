"""Traces for OpenTelemetry, only where its standard variables ask for them.

This module decides; what it takes is imported from backend/telemetry/spans.py when it is on.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from fastapi.telemetry import TelemetryConfig

    from backend.telemetry.spans import Tracing

# FastAPI would trace by itself, queries included, where a library sets a provider up.
OFF: Final[TelemetryConfig] = {
    "tracing": False,
    "metrics": False,
    "logs": False,
    "operation_spans": False,
    "auto_configure": False,
}

log = logging.getLogger("prism.traces")

_ENDPOINTS: Final = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
_PROTOCOLS: Final = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")


def start(environ: Mapping[str, str] = os.environ) -> Tracing | None:
    """Begin to trace, or return None; what stands in the way is a line in the log, no failure."""
    if not wanted(environ):
        return None
    if wrong := _unsupported(environ):
        log.warning("Nothing is traced: %s is not supported.", wrong)
        return None
    try:
        from backend.telemetry.spans import Tracing

        return Tracing(environ)
    except ImportError:
        log.warning(
            "Nothing is traced: OpenTelemetry is not installed. "
            "Install it with: pip install -r requirements/otel.txt"
        )
    except Exception as error:
        log.warning("Nothing is traced: %s", error)
    return None


def wanted(environ: Mapping[str, str]) -> bool:
    """Whether OpenTelemetry's variables ask for traces."""
    if environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return False
    exporter = environ.get("OTEL_TRACES_EXPORTER", "")
    return exporter != "none" and any((exporter, *map(environ.get, _ENDPOINTS)))


def _unsupported(environ: Mapping[str, str]) -> str:
    if (exporter := environ.get("OTEL_TRACES_EXPORTER", "")) not in {"", "otlp"}:
        return f"OTEL_TRACES_EXPORTER={exporter}"
    for name in _PROTOCOLS:
        if protocol := environ.get(name):  # the first that is set holds
            return "" if protocol == "http/protobuf" else f"{name}={protocol}"
    return ""
