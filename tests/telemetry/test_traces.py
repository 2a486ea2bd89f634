"""Traces sent to an OpenTelemetry collector."""

import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from backend.inference.runtimes.fake_runtime import FakeRuntime
from backend.telemetry import traces
from tests.conftest import ROOT
from tests.fake_models import serve, write_model
from tests.images import encoded, seven
from tests.telemetry.collector import Collector, attributes, run_collector
from tests.telemetry.conftest import ReadLog

PARENT = "0af7651916cd43dd8448eb211c80319c"
TRACEPARENT = f"00-{PARENT}-b7ad6b7169203331-01"
SEVEN = {"file": encoded(seven())}


@pytest.fixture(autouse=True)
def _no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OTEL_SERVICE_NAME", "OTEL_RESOURCE_ATTRIBUTES"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def models_dir(tmp_path: Path) -> Path:
    write_model(tmp_path)
    return tmp_path


def send_requests(collector: Collector, models_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Classify an image within a trace of the client, among other requests."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.address)
    with serve(models_dir, FakeRuntime(10)) as client:
        headers = {"traceparent": TRACEPARENT, "X-Request-ID": "mine"}
        response = client.post("/classify?secret=drawing&top_k=2", files=SEVEN, headers=headers)
        assert len(response.json()["top"]) == 2, "the route receives its query"
        client.get("/health")
        assert client.get("/models/missing").status_code == 404


def test_request_span_joins_the_clients_trace_and_has_stage_spans(
    models_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with run_collector() as collector:
        send_requests(collector, models_dir, monkeypatch)
    assert collector.services() == {"prism-backend"}
    spans = {span.name: span for span in collector.spans()}
    assert set(spans) == {
        "POST /classify", "GET /models/{name}", "decode", "queue", "inference",
    }  # fmt: skip
    request = spans["POST /classify"]
    assert (request.trace_id.hex(), request.parent_span_id.hex()) == (PARENT, "b7ad6b7169203331")
    values = attributes(request.attributes)
    assert values["http.route"] == "/classify"
    assert values["http.response.status_code"] == 200
    assert (values["prism.request_id"], values["prism.model"]) == ("mine", "fake")
    stages = [spans[name] for name in ("decode", "queue", "inference")]
    for stage in stages:
        assert stage.parent_span_id == request.span_id
        assert attributes(stage.attributes) == {"prism.model": "fake"}
        assert (
            request.start_time_unix_nano <= stage.end_time_unix_nano <= request.end_time_unix_nano
        )
    assert stages[0].end_time_unix_nano == stages[1].start_time_unix_nano
    assert stages[1].end_time_unix_nano == stages[2].start_time_unix_nano


def test_query_is_not_sent(models_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with run_collector() as collector:
        send_requests(collector, models_dir, monkeypatch)
    assert collector.spans()
    assert "drawing" not in str(collector.requests)


def test_log_contains_the_span_of_the_request(
    models_dir: Path, monkeypatch: pytest.MonkeyPatch, read_log: ReadLog
) -> None:
    with run_collector() as collector:
        send_requests(collector, models_dir, monkeypatch)
    (span,) = [span for span in collector.spans() if span.name == "POST /classify"]
    (line,) = [line for line in read_log() if line.get("request_id") == "mine"]
    assert line["logging.googleapis.com/trace"] == f"projects/proj/traces/{PARENT}"
    assert line["logging.googleapis.com/spanId"] == span.span_id.hex()
    assert line["logging.googleapis.com/trace_sampled"] is True


def test_unexpected_error_marks_the_span_as_failed(
    models_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with run_collector() as collector:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.address)
        with serve(models_dir) as client:
            monkeypatch.setattr("backend.api.routes.models.model_info", lambda _: 1 / 0)
            assert client.get("/models").status_code == 500
    (span,) = collector.spans()
    assert span.name == "GET /models"
    assert attributes(span.attributes)["http.response.status_code"] == 500
    assert span.status.code == span.status.STATUS_CODE_ERROR


@pytest.mark.parametrize(
    "variables",
    [{"OTEL_SERVICE_NAME": "mine"}, {"OTEL_RESOURCE_ATTRIBUTES": "service.name=mine,a=b"}],
    ids=str,
)
def test_configured_service_name_is_used(
    variables: dict[str, str], models_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with run_collector() as collector:
        send_requests(collector, models_dir, monkeypatch)
    assert collector.services() == {"mine"}


def test_hanging_collector_does_not_delay_shutdown(
    models_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with run_collector(delay=threading.Event()) as collector:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.address)
        tracing = traces.start({"OTEL_EXPORTER_OTLP_ENDPOINT": collector.address})
        assert tracing is not None
        with tracing.tracer.start_as_current_span("one"):
            pass
        started = time.monotonic()
        tracing.close(seconds=0.2)
        assert time.monotonic() - started < 5
        assert not collector.requests


@pytest.mark.parametrize(
    ("variables", "is_enabled"),
    [
        ({}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": ""}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://localhost:4318"}, True),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://localhost:4318/v1/traces"}, True),
        ({"OTEL_TRACES_EXPORTER": "otlp"}, True),
        ({"OTEL_TRACES_EXPORTER": "none"}, False),
        ({"OTEL_TRACES_EXPORTER": "none", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://x"}, False),
        ({"OTEL_SDK_DISABLED": "true", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://x"}, False),
        ({"OTEL_SDK_DISABLED": "false", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://x"}, True),
    ],
    ids=str,
)
def test_standard_variables_enable_traces(variables: dict[str, str], is_enabled: bool) -> None:
    assert traces.is_enabled(variables) is is_enabled


@pytest.mark.parametrize(
    "variables",
    [
        {"OTEL_TRACES_EXPORTER": "zipkin"},
        {"OTEL_TRACES_EXPORTER": "otlp", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"},
    ],
    ids=str,
)
def test_unsupported_setting_is_logged_and_disables_traces(
    variables: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    assert traces.start(variables) is None
    *_, (name, value) = variables.items()
    (line,) = caplog.messages
    assert f"{name}={value}" in line


def test_missing_packages_are_logged_with_instructions(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.delitem(sys.modules, "backend.telemetry.spans", raising=False)
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace", None)
    assert traces.start({"OTEL_TRACES_EXPORTER": "otlp"}) is None
    (line,) = caplog.messages
    assert "requirements/otel.txt" in line


def test_sdk_is_not_imported_without_tracing(models_dir: Path) -> None:
    code = (
        "import sys; from backend.app import create_app; from backend.settings import Settings;"
        f"create_app(Settings(models_dir={str(models_dir)!r}));"
        "sys.exit(any(name.startswith('opentelemetry.sdk') for name in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0
