"""Logs to stderr: a line of JSON per record, or a line for a person.

Whatever a client sends, a record stays one line: JSON escapes control characters, and so does the
text. The names of the fields are those that Google Cloud's logging understands.
"""

import json
import logging
import os
import sys
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, BinaryIO, Final, Literal

import orjson

from backend.telemetry.request import Request, Trace, current

Format = Literal["auto", "json", "text"]
Level = Literal["debug", "info", "warning", "error"]

_OURS: Final = ("prism", "uvicorn")  # of all others only warnings are of interest
_OPTIONS: Final = orjson.OPT_APPEND_NEWLINE | orjson.OPT_UTC_Z
_CONTROLS: Final = {
    code: repr(chr(code))[1:-1] for code in (*range(32), *range(127, 160), 0x2028, 0x2029)
}


@dataclass(frozen=True, slots=True)
class Access:
    """What the line of one request tells, beside its message."""

    method: str
    path: str  # never with the query: a drawing may be in it
    status: int
    seconds: float
    model: str


def configure(
    chosen: Format = "auto", level: Level = "info", environ: Mapping[str, str] = os.environ
) -> None:
    """Send every logger's records, uvicorn's and Python's warnings among them, to stderr."""
    if chosen == "auto":
        chosen = "text" if sys.stderr.isatty() else "json"
    number = logging.getLevelNamesMapping()[level.upper()]
    write = text if chosen == "text" else Json(environ.get("GOOGLE_CLOUD_PROJECT", ""))
    root = logging.getLogger()
    for handler in [known for known in root.handlers if isinstance(known, Lines)]:
        root.removeHandler(handler)
    root.addHandler(Lines(write, sys.stderr.buffer))
    root.setLevel(max(number, logging.WARNING))
    for name in _OURS:
        logging.getLogger(name).setLevel(number)
    logging.captureWarnings(True)


class Lines(logging.Handler):
    """Writes each record at once, in one piece; a stderr that is gone stops nobody."""

    def __init__(self, write: Callable[[logging.LogRecord], bytes], stream: BinaryIO) -> None:
        super().__init__()
        self._line = write
        self._stream = stream

    def emit(self, record: logging.LogRecord) -> None:
        """Write `record`."""
        try:
            line = self._line(record)
        except Exception:
            self.handleError(record)
            return
        try:
            self._stream.write(line)
            self._stream.flush()
        except (OSError, ValueError):
            pass


class Json:
    """Turns a record into a line of JSON; `project` is the one that traces are kept in."""

    def __init__(self, project: str = "") -> None:
        self._prefix: Final = f"projects/{project}/traces/" if project else ""

    def __call__(self, record: logging.LogRecord) -> bytes:
        """Return the line of `record`."""
        entry: dict[str, Any] = {
            "severity": _severity(record.levelno),
            "message": record.getMessage(),
            "time": datetime.fromtimestamp(record.created, UTC),
            "logger": record.name,
        }
        access: Access | None = getattr(record, "access", None)
        if access is not None:
            entry["httpRequest"] = {
                "requestMethod": access.method,
                "requestUrl": access.path,
                "status": access.status,
                "latency": f"{access.seconds:.6f}s",
            }
            if access.model:
                entry["model"] = access.model
        request = current.get()
        if request is not None:
            self._place(entry, request)
        if reported := _traceback(record):
            # Error Reporting looks for this name first, and for Python's own form in it.
            entry["stack_trace"] = reported
        try:
            return orjson.dumps(entry, option=_OPTIONS)
        except TypeError:  # a lone surrogate, which is no UTF-8
            entry["time"] = entry["time"].isoformat()
            return json.dumps(entry, ensure_ascii=False).encode(errors="replace") + b"\n"

    def _place(self, entry: dict[str, Any], request: Request) -> None:
        entry["request_id"] = request.id
        trace: Trace | None = request.trace
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


def text(record: logging.LogRecord) -> bytes:
    """Return the line of `record` for a person; a traceback follows it, indented."""
    message = record.getMessage()
    request = current.get()
    if request is not None and request.id not in message:
        message = f"{message} [{request.id}]"
    lines = [f"{record.levelname}: {message}".translate(_CONTROLS)]
    lines += [f"    {line.translate(_CONTROLS)}" for line in _traceback(record).split("\n") if line]
    return ("\n".join(lines) + "\n").encode(errors="backslashreplace")


def _severity(level: int) -> str:
    if level >= logging.CRITICAL:
        return "CRITICAL"
    if level >= logging.ERROR:
        return "ERROR"
    if level >= logging.WARNING:
        return "WARNING"
    return "INFO" if level >= logging.INFO else "DEBUG"


def _traceback(record: logging.LogRecord) -> str:
    if record.exc_info and record.exc_info[1] is not None:
        return "".join(traceback.format_exception(record.exc_info[1]))
    return record.stack_info or ""
