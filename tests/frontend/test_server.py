"""The server of the page, with all of its parts."""

import json
import subprocess
import sys

import pytest

from tests.conftest import ROOT

CODE = """
import json
from starlette.testclient import TestClient
from frontend.app import app
from frontend.state.memory import memory_limit

with TestClient(app) as client:
    health = client.get("/_stcore/health")
    download = client.get("/downloads/unknown")
    declared = {"Content-Length": str(10 * memory_limit())}
    upload = client.put("/_stcore/upload_file/session/file", content=b"x", headers=declared)
print(json.dumps({
    "health": health.status_code,
    "policy": health.headers["Content-Security-Policy"],
    "download": download.text,
    "upload": upload.status_code,
}))
"""


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("PRISM_PAGE_SIGN_IN", "ture", "PRISM_PAGE_SIGN_IN=ture: must be true or false"),
        (
            "PRISM_PAGE_STORE",
            "mysql://ana:secret@host/page",
            "PRISM_PAGE_STORE: must be sqlite:///FILE or postgresql://USER:PASSWORD@HOST/NAME",
        ),
    ],
)
def test_invalid_setting_ends_the_server_with_one_line(name: str, value: str, message: str) -> None:
    process = subprocess.run(
        [sys.executable, "-c", "import frontend.app"],
        cwd=ROOT,
        env={"HOME": "/nonexistent", name: value},
        capture_output=True,
        text=True,
    )
    assert process.returncode == 1
    assert process.stderr == f"error: {message}\n"


def test_server_has_headers_downloads_and_an_upload_limit() -> None:
    process = subprocess.run(
        [sys.executable, "-c", CODE],
        cwd=ROOT / "frontend",  # `streamlit run` resolves the script relative to the application
        env={"PYTHONPATH": str(ROOT), "HOME": "/nonexistent"},
        capture_output=True,
        text=True,
        check=True,
    )
    answers = json.loads(process.stdout.splitlines()[-1])
    assert answers["health"] == 200
    assert answers["policy"].startswith("default-src 'self'; script-src 'self'")
    assert answers["download"].startswith("This link has expired.")
    assert answers["upload"] == 507
