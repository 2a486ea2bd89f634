"""The backend answers random requests as its OpenAPI document says; a short form."""

from pathlib import Path

from tests.contract.runner import run_schemathesis
from tests.e2e.backend_process import BackendProcess


def test_backend_keeps_its_openapi_document(tmp_path: Path) -> None:
    with BackendProcess(
        PRISM_DATA_DIR=str(tmp_path / "data"),
        PRISM_HISTORY_OPEN="true",
        PRISM_MODELS="mnist-cnn",
    ) as backend:
        backend.wait_until_ready()
        report = run_schemathesis(backend.url, tmp_path, examples=5)
    assert report["test_cases"]["generated"] >= 500
