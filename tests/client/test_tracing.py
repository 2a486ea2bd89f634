"""Requests of the clients continue the trace of the program."""

import asyncio
import subprocess
import sys
from contextlib import suppress

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from client import BackendError, Client
from client.aio import AsyncClient
from tests.client.fake_server import FakeResponse, serving
from tests.conftest import ROOT


@pytest.fixture
def spans(monkeypatch: pytest.MonkeyPatch) -> InMemorySpanExporter:
    """The spans of the client."""
    exporter, provider = InMemorySpanExporter(), TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(trace, "get_tracer", provider.get_tracer)
    return exporter


def call(url: str, kind: str) -> None:
    """Ask a backend for a history entry that does not exist."""

    async def call_async() -> None:
        async with AsyncClient(url) as client:
            await client.history.get("one")

    with suppress(BackendError):
        if kind == "async":
            asyncio.run(call_async())
        else:
            Client(url).history.get("one")


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_request_continues_the_trace_of_the_program(kind: str, spans: InMemorySpanExporter) -> None:
    response = FakeResponse(status=404, headers={"X-Request-ID": "mine"})
    with (
        serving(response) as (url, received),
        trace.get_tracer("program").start_as_current_span("page") as page,
    ):
        call(url, kind)
    request = next(each for each in spans.get_finished_spans() if each.name == "GET /history")
    context, parent = request.context, request.parent
    assert context is not None
    assert parent is not None
    assert parent.span_id == page.get_span_context().span_id
    sent = received[0].headers["traceparent"]
    assert sent.startswith(f"00-{context.trace_id:032x}-{context.span_id:016x}-0")
    assert int(sent[-2:], 16) & trace.TraceFlags.SAMPLED
    assert dict(request.attributes or {}) == {
        "http.request.method": "GET",
        "http.response.status_code": 404,
        "prism.request_id": "mine",
        "error.type": "BackendError",
    }
    assert request.status.status_code is trace.StatusCode.ERROR


def test_program_without_opentelemetry_sends_no_trace_and_imports_none() -> None:
    code = (
        "import sys; from client import Client, ClientError\n"
        "try: Client(sys.argv[1]).info()\n"
        "except ClientError: pass\n"
        "sys.exit('opentelemetry' in sys.modules)"
    )
    with serving(FakeResponse(status=404)) as (url, received):
        command = [sys.executable, "-c", code, url]
        assert subprocess.run(command, cwd=ROOT, check=False).returncode == 0
    assert "traceparent" not in received[0].headers
