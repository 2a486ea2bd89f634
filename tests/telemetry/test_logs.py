"""Formats of the log lines."""

import io
import logging
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import orjson
import pytest

from backend.inference.runtimes.fake_runtime import FakeRuntime
from backend.telemetry import logs
from backend.telemetry.request_context import RequestContext, current_request
from tests.conftest import ROOT
from tests.fake_models import serve, write_model
from tests.images import encoded, seven
from tests.telemetry.conftest import ReadLog

HOSTILE = 'a\nERROR: forged\r\n{"severity": "CRITICAL"}\x1b[31m\x00\x85\u2028\ud800"'


def make_record(
    message: str, *args: object, level: int = logging.INFO, **extra: Any
) -> logging.LogRecord:
    return logging.getLogger("prism.test").makeRecord(
        "prism.test", level, "", 0, message, args, extra.pop("exc_info", None), extra=extra
    )


def as_json(record: logging.LogRecord, project: str = "") -> dict[str, Any]:
    line = logs.JsonFormatter(project)(record)
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    return dict(orjson.loads(line))


def failure() -> Any:
    try:
        raise ValueError(HOSTILE)
    except ValueError:
        return sys.exc_info()


def test_record_has_the_fields_of_google_cloud_logging() -> None:
    entry = as_json(make_record("%d models", 3, level=logging.WARNING))
    assert (entry["severity"], entry["message"]) == ("WARNING", "3 models")
    assert entry["logger"] == "prism.test"
    assert abs(datetime.fromisoformat(entry["time"]).timestamp() - time.time()) < 60
    assert entry["time"].endswith("Z")


@pytest.mark.parametrize(
    ("level", "severity"),
    [(5, "DEBUG"), (10, "DEBUG"), (20, "INFO"), (25, "INFO"), (30, "WARNING"), (40, "ERROR"),
     (50, "CRITICAL"), (60, "CRITICAL")],
)  # fmt: skip
def test_levels_map_to_severities(level: int, severity: str) -> None:
    assert as_json(make_record("x", level=level))["severity"] == severity


def test_traceback_is_in_the_field_of_error_reporting() -> None:
    entry = as_json(make_record("request failed", level=logging.ERROR, exc_info=failure()))
    assert entry["message"] == "request failed"
    assert entry["stack_trace"].startswith("Traceback (most recent call last):\n")
    assert "ValueError" in entry["stack_trace"]


@pytest.mark.parametrize(
    "record", [make_record("%s", HOSTILE), make_record("failed", exc_info=failure())]
)
def test_hostile_input_stays_on_one_line(record: logging.LogRecord) -> None:
    as_json(record)
    first, *rest = logs.format_text(record).decode().splitlines()
    assert first.startswith("INFO: ")
    assert all(line.startswith("    ") for line in rest)
    assert rest or not record.exc_info
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]", logs.format_text(record).decode())


def in_request(request: RequestContext, call: Callable[[], Any]) -> Any:
    token = current_request.set(request)
    try:
        return call()
    finally:
        current_request.reset(token)


def test_record_during_a_request_contains_its_id() -> None:
    request = RequestContext("abc")
    assert in_request(request, lambda: as_json(make_record("x")))["request_id"] == "abc"
    assert in_request(request, lambda: logs.format_text(make_record("x"))) == b"INFO: x [abc]\n"
    assert in_request(request, lambda: logs.format_text(make_record("x abc"))) == b"INFO: x abc\n"
    assert "request_id" not in as_json(make_record("x"))


def test_trace_is_linked_if_the_project_is_known() -> None:
    traced = RequestContext("abc", (f"00-{'1' * 32}-{'2' * 16}-01".encode(), b""))
    entry = in_request(traced, lambda: as_json(make_record("x"), "proj"))
    assert entry["logging.googleapis.com/trace"] == f"projects/proj/traces/{'1' * 32}"
    assert entry["logging.googleapis.com/spanId"] == "2" * 16
    assert entry["logging.googleapis.com/trace_sampled"] is True
    entry = in_request(traced, lambda: as_json(make_record("x")))
    assert entry["trace_id"] == "1" * 32
    assert not [key for key in entry if key.startswith("logging.")]


def test_access_log_contains_request_and_status(tmp_path: Path, read_log: ReadLog) -> None:
    write_model(tmp_path)
    with serve(tmp_path, FakeRuntime(10)) as client:
        headers = {
            "X-Request-ID": "mine",
            "X-Cloud-Trace-Context": f"{'1' * 32}/2;o=1",
        }
        files = {"file": encoded(seven())}
        client.post("/classify?secret=drawing", files=files, headers=headers)
        client.get("/health")
        client.get("/metrics")
        client.get("/no%0Awhere?secret=drawing")
    lines = [line for line in read_log() if line["logger"] == "prism.access"]
    classified, missing = lines
    request = classified["httpRequest"]
    assert request.pop("latency").endswith("s")
    assert request == {"requestMethod": "POST", "requestUrl": "/classify", "status": 200}
    assert (classified["model"], classified["request_id"]) == ("fake", "mine")
    assert classified["logging.googleapis.com/spanId"] == f"{2:016x}"
    assert missing["httpRequest"]["requestUrl"] == "/no\nwhere"
    assert "model" not in missing
    assert "drawing" not in str(lines)


def test_unexpected_error_is_logged_with_the_request_id(
    tmp_path: Path, read_log: ReadLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_model(tmp_path)
    with serve(tmp_path) as client:
        monkeypatch.setattr("backend.api.routes.models.model_info", lambda _: 1 / 0)
        client.get("/models", headers={"X-Request-ID": "mine"})
    (failed,) = [line for line in read_log() if line["severity"] == "ERROR"]
    assert failed["request_id"] == "mine"
    assert "ZeroDivisionError" in failed["stack_trace"]


def test_closed_stream_is_ignored() -> None:
    stream = io.BytesIO()
    stream.close()
    logs.LineHandler(logs.format_text, stream).emit(make_record("x"))


@pytest.mark.parametrize("log_format", ["text", "auto"])
def test_all_output_has_the_configured_format(
    log_format: str,
) -> None:
    """`auto` is JSON here, since stderr is a pipe."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process = subprocess.Popen(
        [sys.executable, "-m", "backend"],
        cwd=ROOT,
        env=os.environ | {"PORT": str(port), "PRISM_LOG_FORMAT": log_format},
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert process.stderr is not None
    first_lines: list[bytes] = []
    for line in process.stderr:
        first_lines.append(line)
        if b"running on" in line:
            break
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/models") as response:
        assert response.status == 200
    process.send_signal(signal.SIGTERM)
    out, rest = process.communicate(timeout=20)
    assert out == b""
    lines = first_lines + rest.splitlines()
    if log_format == "text":
        assert any(line.startswith(b"INFO: GET '/models' 200") for line in lines)
        assert not any(line.startswith(b"{") for line in lines)
        return
    entries = [orjson.loads(line) for line in lines]
    assert {"uvicorn.error", "prism.access", "prism.catalog"} <= {e["logger"] for e in entries}
    assert [e["httpRequest"]["status"] for e in entries if "httpRequest" in e] == [200]


def test_other_libraries_log_warnings_only() -> None:
    code = (
        "import logging, warnings; from backend.telemetry import logs;"
        "logs.configure('json', 'debug');"
        "logging.getLogger('PIL.Image').info('noise'); logging.getLogger('prism.x').debug('ours');"
        "logging.getLogger('PIL').warning('heard'); warnings.warn('old')"
    )
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, check=True)
    messages = [orjson.loads(line)["message"] for line in run.stderr.splitlines()]
    assert messages[:2] == ["ours", "heard"]
    assert "UserWarning: old" in messages[2]
    assert len(messages) == 3
