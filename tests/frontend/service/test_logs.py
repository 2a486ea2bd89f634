"""Lines of the page's log."""

import json
import logging
import sys

import pytest
from opentelemetry.sdk.trace import TracerProvider

from frontend.service import logs


def format_record(project: str = "", **extra: object) -> dict[str, object]:
    record = logging.makeLogRecord(
        {"levelname": "ERROR", "msg": "line\nbreak", "name": "prism.page"}
    )
    record.__dict__.update(extra)
    line = logs.JsonFormatter(project).format(record)
    assert "\n" not in line
    entry: dict[str, object] = json.loads(line)
    return entry


def test_line_has_the_trace_of_the_page() -> None:
    tracer = TracerProvider(shutdown_on_exit=False).get_tracer("test")
    assert "trace_id" not in format_record()
    with tracer.start_as_current_span("page") as span:
        trace_id = f"{span.get_span_context().trace_id:032x}"
        assert format_record()["trace_id"] == trace_id
        name = format_record("demo")["logging.googleapis.com/trace"]
    assert name == f"projects/demo/traces/{trace_id}"


def test_line_has_severity_and_traceback() -> None:
    try:
        raise ValueError("bad")
    except ValueError:
        entry = format_record(exc_info=sys.exc_info())
    assert (entry["severity"], entry["logger"]) == ("ERROR", "prism.page")
    assert str(entry["stack_trace"]).endswith("ValueError: bad\n")


def test_invalid_format_is_refused() -> None:
    with pytest.raises(ValueError, match="must be auto, json or text"):
        logs.configure({"PRISM_LOG_FORMAT": "xml"})
