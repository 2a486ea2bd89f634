"""OpenTelemetry traces, enabled by the standard variables.

If they are enabled, this module imports backend/telemetry/spans.py, which needs the SDK.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from fastapi.telemetry import TelemetryConfig

    from backend.telemetry.spans import Tracing

# By default FastAPI traces, including queries, once a library sets up a provider.
DISABLED: Final[TelemetryConfig] = {
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
    """Start tracing, or return None; obstacles are logged and do not raise."""
    if not is_enabled(environ):
        return None
    if setting := _unsupported(environ):
        log.warning("Tracing is disabled: %s is not supported.", setting)
        return None
    try:
        from backend.telemetry.spans import Tracing

        return Tracing(environ)
    except ImportError:
        log.warning(
            "Tracing is disabled: OpenTelemetry is not installed. "
            "Install it with: pip install -r requirements/otel.txt"
        )
    except Exception as error:
        log.warning("Tracing is disabled: %s", error)
    return None


def is_enabled(environ: Mapping[str, str]) -> bool:
    """Return whether the variables of OpenTelemetry enable traces."""
    if environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return False
    exporter = environ.get("OTEL_TRACES_EXPORTER", "")
    return exporter != "none" and any((exporter, *map(environ.get, _ENDPOINTS)))


def _unsupported(environ: Mapping[str, str]) -> str:
    if (exporter := environ.get("OTEL_TRACES_EXPORTER", "")) not in {"", "otlp"}:
        return f"OTEL_TRACES_EXPORTER={exporter}"
    for name in _PROTOCOLS:
        if protocol := environ.get(name):  # the first variable that is set applies
            return "" if protocol == "http/protobuf" else f"{name}={protocol}"
    return ""
