"""Logs of the page: one line of JSON per record with the trace, as in the backend, or text."""

import json
import logging
import os
import sys
import traceback
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from opentelemetry import trace

FORMAT_SETTING = "PRISM_LOG_FORMAT"
_FORMATS = ("auto", "json", "text")


def configure(environ: Mapping[str, str] = os.environ) -> None:
    """Write the records of the page to stderr; raise ValueError for an invalid setting."""
    log_format = environ.get(FORMAT_SETTING, "").strip() or "auto"
    if log_format not in _FORMATS:
        raise ValueError(f"{FORMAT_SETTING}={log_format}: must be auto, json or text")
    if log_format == "auto":
        log_format = "text" if sys.stderr.isatty() else "json"
    handler = logging.StreamHandler()
    handler.setFormatter(
        JsonFormatter(environ.get("GOOGLE_CLOUD_PROJECT", ""))
        if log_format == "json"
        else logging.Formatter("%(levelname)s: %(message)s")
    )
    logger = logging.getLogger("prism")
    logger.handlers[:] = [handler]
    logger.propagate = False


class JsonFormatter(logging.Formatter):
    """Formats a record with the fields of the backend's logs."""

    def __init__(self, project: str = "") -> None:
        super().__init__()
        self._project = project

    def format(self, record: logging.LogRecord) -> str:
        """Return `record` as a line of JSON."""
        entry: dict[str, Any] = {
            "severity": record.levelname,
            "message": record.getMessage(),
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(),
            "logger": record.name,
        }
        context = trace.get_current_span().get_span_context()
        if context.is_valid:
            trace_id = trace.format_trace_id(context.trace_id)
            if self._project:
                name = f"projects/{self._project}/traces/{trace_id}"
                entry["logging.googleapis.com/trace"] = name
                span_id = trace.format_span_id(context.span_id)
                entry["logging.googleapis.com/spanId"] = span_id
            else:
                entry["trace_id"] = trace_id
        if record.exc_info and record.exc_info[1] is not None:
            entry["stack_trace"] = "".join(traceback.format_exception(record.exc_info[1]))
        return json.dumps(entry)
