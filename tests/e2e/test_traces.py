"""Page, client and backend have one trace, which is also in the backend's log."""

import json
import time
from pathlib import Path

from deploy.page_session import Session
from tests.e2e.backend_process import BackendProcess
from tests.e2e.conftest import run_frontend
from tests.telemetry.collector import attributes, run_collector


def test_page_client_and_backend_have_one_trace_id(tmp_path: Path) -> None:
    log = tmp_path / "backend.log"
    with run_collector() as collector:
        otel = {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.address, "OTEL_BSP_SCHEDULE_DELAY": "100"}
        settings = {"PRISM_DATA_DIR": str(tmp_path), "PRISM_LOG_FORMAT": "json", **otel}
        with BackendProcess(log, **settings) as backend:
            backend.wait_until_ready()
            with run_frontend(backend.url, tmp_path / "frontend.log", **otel) as url:
                with Session(url) as session:
                    session.open("")
                until = time.monotonic() + 30
                while time.monotonic() < until:
                    names = {span.name for span in collector.spans()}
                    if {"page Classify", "GET /models"} <= names and len(collector.services()) > 1:
                        break
                    time.sleep(0.2)
    assert collector.services() == {"prism-frontend", "prism-backend"}
    spans = collector.spans()
    page = next(span for span in spans if span.name == "page Classify")
    of_page = [span for span in spans if span.trace_id == page.trace_id and span is not page]
    (sent, *_) = [span for span in of_page if span.parent_span_id == page.span_id]
    (received, *_) = [span for span in of_page if span.parent_span_id == sent.span_id]
    assert (sent.name, received.name) == ("GET /models", "GET /models")
    request_id = attributes(received.attributes)["prism.request_id"]
    assert attributes(sent.attributes)["prism.request_id"] == request_id
    lines = [json.loads(line) for line in log.read_text().splitlines() if line.startswith("{")]
    (line,) = [line for line in lines if line.get("request_id") == request_id]
    assert line["trace_id"] == page.trace_id.hex()
