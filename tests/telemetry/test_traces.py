"""Traces arrive at a receiver of OpenTelemetry's, and cost nothing where nobody asks for them."""

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
from tests.pictures import encoded, seven
from tests.telemetry.collector import Collector, attributes, collect
from tests.telemetry.conftest import Written

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


def ask(collector: Collector, models_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Classify a picture that belongs to a trace of the client's."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.address)
    with serve(models_dir, FakeRuntime(10)) as client:
        headers = {"traceparent": TRACEPARENT, "X-Request-ID": "mine"}
        response = client.post("/classify?secret=drawing&top_k=2", files=SEVEN, headers=headers)
        assert len(response.json()["top"]) == 2, "the route has got its query"
        client.get("/health")
        assert client.get("/models/nobody").status_code == 404


def test_a_request_arrives_as_a_span_of_the_clients_trace_with_the_parts_of_its_time(
    models_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with collect() as collector:
        ask(collector, models_dir, monkeypatch)
    assert collector.services() == {"prism-backend"}
    spans = {span.name: span for span in collector.spans()}
    assert set(spans) == {
        "POST /classify", "GET /models/{name}", "decode", "queue", "inference",
    }  # fmt: skip
    whole = spans["POST /classify"]
    assert (whole.trace_id.hex(), whole.parent_span_id.hex()) == (PARENT, "b7ad6b7169203331")
    told = attributes(whole.attributes)
    assert told["http.route"] == "/classify"
    assert told["http.response.status_code"] == 200
    assert (told["prism.request_id"], told["prism.model"]) == ("mine", "fake")
    parts = [spans[name] for name in ("decode", "queue", "inference")]
    for part in parts:
        assert part.parent_span_id == whole.span_id
        assert attributes(part.attributes) == {"prism.model": "fake"}
        assert whole.start_time_unix_nano <= part.end_time_unix_nano <= whole.end_time_unix_nano
    assert parts[0].end_time_unix_nano == parts[1].start_time_unix_nano
    assert parts[1].end_time_unix_nano == parts[2].start_time_unix_nano


def test_no_query_leaves_the_service(models_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with collect() as collector:
        ask(collector, models_dir, monkeypatch)
    assert collector.spans()
    assert "drawing" not in str(collector.requests)


def test_the_log_names_the_span_of_the_request(
    models_dir: Path, monkeypatch: pytest.MonkeyPatch, written: Written
) -> None:
    with collect() as collector:
        ask(collector, models_dir, monkeypatch)
    (span,) = [span for span in collector.spans() if span.name == "POST /classify"]
    (line,) = [line for line in written() if line.get("request_id") == "mine"]
    assert line["logging.googleapis.com/trace"] == f"projects/proj/traces/{PARENT}"
    assert line["logging.googleapis.com/spanId"] == span.span_id.hex()
    assert line["logging.googleapis.com/trace_sampled"] is True


def test_an_unforeseen_failure_is_a_span_that_failed(
    models_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with collect() as collector:
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
def test_the_operators_name_for_the_service_is_kept(
    variables: dict[str, str], models_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with collect() as collector:
        ask(collector, models_dir, monkeypatch)
    assert collector.services() == {"mine"}


def test_a_receiver_that_hangs_does_not_hold_up_the_end(
    models_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with collect(delay=threading.Event()) as collector:
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
    ("variables", "on"),
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
def test_the_standard_variables_ask_for_traces(variables: dict[str, str], on: bool) -> None:
    assert traces.wanted(variables) is on


@pytest.mark.parametrize(
    "variables",
    [
        {"OTEL_TRACES_EXPORTER": "zipkin"},
        {"OTEL_TRACES_EXPORTER": "otlp", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"},
    ],
    ids=str,
)
def test_what_is_not_supported_is_said_and_the_service_runs(
    variables: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    assert traces.start(variables) is None
    *_, (name, value) = variables.items()
    (line,) = caplog.messages
    assert f"{name}={value}" in line


def test_without_the_packages_one_line_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.delitem(sys.modules, "backend.telemetry.spans", raising=False)
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace", None)
    assert traces.start({"OTEL_TRACES_EXPORTER": "otlp"}) is None
    (line,) = caplog.messages
    assert "requirements/otel.txt" in line


def test_nothing_of_it_is_imported_where_nobody_asks(models_dir: Path) -> None:
    code = (
        "import sys; from backend.app import create_app; from backend.settings import Settings;"
        f"create_app(Settings(models_dir={str(models_dir)!r}));"
        "sys.exit(any(name.startswith('opentelemetry.sdk') for name in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0
