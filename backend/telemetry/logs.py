"""Logs to stderr: one line per record, as JSON or as text.

Control characters are escaped, so that input of clients cannot break or forge lines. The field
names are those of Google Cloud Logging.
"""

import json
import logging
import os
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, BinaryIO, Final, Literal

import orjson

from backend.telemetry.request_context import RequestContext, TraceContext, current_request

Format = Literal["auto", "json", "text"]
Level = Literal["debug", "info", "warning", "error"]

_LOGGERS: Final = ("prism", "uvicorn")  # other loggers only log warnings
_OPTIONS: Final = orjson.OPT_APPEND_NEWLINE | orjson.OPT_UTC_Z
_CONTROLS: Final = {
    code: repr(chr(code))[1:-1] for code in (*range(32), *range(127, 160), 0x2028, 0x2029)
}


_DEFAULTS: Final = vars(logging.makeLogRecord({}))


class AccessRecord(logging.LogRecord):
    """Log record of a request, without the costly lookup of its caller, thread and process.

    `path` has no query, which may contain image data.
    """

    def __init__(
        self,
        name: str,
        level: int,
        method: str,
        path: str,
        status: int,
        seconds: float,
        model: str,
        request_id: str,
    ) -> None:
        self.__dict__.update(_DEFAULTS)
        self.name = name
        self.levelno, self.levelname = level, logging.getLevelName(level)
        self.created = time.time()
        self.msg = "%s %r %d %.1f ms %s"
        self.args = method, path, status, seconds * 1e3, request_id
        self.request: Final = {
            "requestMethod": method,
            "requestUrl": path,
            "status": status,
            "latency": f"{seconds:.6f}s",
        }
        self.model: Final = model


def configure(
    log_format: Format = "auto", level: Level = "info", environ: Mapping[str, str] = os.environ
) -> None:
    """Write the records of all loggers, and Python warnings, to stderr."""
    if log_format == "auto":
        log_format = "text" if sys.stderr.isatty() else "json"
    number = logging.getLevelNamesMapping()[level.upper()]
    project = environ.get("GOOGLE_CLOUD_PROJECT", "")
    formatter = format_text if log_format == "text" else JsonFormatter(project)
    root = logging.getLogger()
    for handler in [one for one in root.handlers if isinstance(one, LineHandler)]:
        root.removeHandler(handler)
    root.addHandler(LineHandler(formatter, sys.stderr.buffer))
    root.setLevel(max(number, logging.WARNING))
    for name in _LOGGERS:
        logging.getLogger(name).setLevel(number)
    logging.captureWarnings(True)


class LineHandler(logging.Handler):
    """Writes each record with a single unbuffered write; ignores a closed stderr."""

    def __init__(self, format_line: Callable[[logging.LogRecord], bytes], stream: BinaryIO) -> None:
        super().__init__()
        self._format_line = format_line
        self._stream = stream

    def emit(self, record: logging.LogRecord) -> None:
        """Write `record`."""
        try:
            line = self._format_line(record)
        except Exception:
            self.handleError(record)
            return
        try:
            self._stream.write(line)
            self._stream.flush()
        except (OSError, ValueError):
            pass


class JsonFormatter:
    """Formats a record as a line of JSON; `project` is the Google Cloud project of the traces."""

    def __init__(self, project: str = "") -> None:
        self._prefix: Final = f"projects/{project}/traces/" if project else ""

    def __call__(self, record: logging.LogRecord) -> bytes:
        """Return `record` as a line of JSON."""
        entry: dict[str, Any] = {
            "severity": _severity(record.levelno),
            "message": record.getMessage(),
            "time": datetime.fromtimestamp(record.created, UTC),
            "logger": record.name,
        }
        if isinstance(record, AccessRecord):
            entry["httpRequest"] = record.request
            if record.model:
                entry["model"] = record.model
        request = current_request.get()
        if request is not None:
            self._add_request(entry, request)
        if formatted := _traceback(record):
            # Error Reporting expects this field, with a traceback in Python's format.
            entry["stack_trace"] = formatted
        try:
            return orjson.dumps(entry, option=_OPTIONS)
        except TypeError:  # a lone surrogate is not valid UTF-8
            entry["time"] = entry["time"].isoformat()
            return json.dumps(entry, ensure_ascii=False).encode(errors="replace") + b"\n"

    def _add_request(self, entry: dict[str, Any], request: RequestContext) -> None:
        entry["request_id"] = request.id
        trace: TraceContext | None = request.trace
        if trace is None:
            return
        if not self._prefix:
            entry["trace_id"] = trace.trace_id
            return
        entry["logging.googleapis.com/trace"] = self._prefix + trace.trace_id
        if trace.span_id is not None:
            entry["logging.googleapis.com/spanId"] = trace.span_id
        if trace.sampled is not None:
            entry["logging.googleapis.com/trace_sampled"] = trace.sampled


def format_text(record: logging.LogRecord) -> bytes:
    """Return `record` as a line of text, followed by an indented traceback, if any."""
    message = record.getMessage()
    request = current_request.get()
    if request is not None and request.id not in message:
        message = f"{message} [{request.id}]"
    lines = [f"{record.levelname}: {message}".translate(_CONTROLS)]
    lines += [f"    {line.translate(_CONTROLS)}" for line in _traceback(record).split("\n") if line]
    return ("\n".join(lines) + "\n").encode(errors="backslashreplace")


def _severity(level: int) -> str:
    """Return the name of the standard level at or below `level`; at least DEBUG."""
    return logging.getLevelName(min(max(level // 10 * 10, logging.DEBUG), logging.CRITICAL))


def _traceback(record: logging.LogRecord) -> str:
    if record.exc_info and record.exc_info[1] is not None:
        return "".join(traceback.format_exception(record.exc_info[1]))
    return record.stack_info or ""
