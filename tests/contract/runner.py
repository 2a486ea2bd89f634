"""Runs Schemathesis, with all of its checks, against a running backend."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.conftest import ROOT


def run_schemathesis(
    url: str, folder: Path, *, examples: int, headers: tuple[str, ...] = ()
) -> dict[str, Any]:
    """Test all routes with `examples` random requests each, and return the report.

    Fails the test if a status is not documented, a response does not match its schema, the service
    fails, or an invalid request is accepted.
    """
    report = folder / "report.json"
    command = [
        *(sys.executable, "-m", "schemathesis.cli", "--no-color"),
        *("--config-file", str(Path(__file__).with_name("schemathesis.toml"))),
        *("run", f"{url}/openapi.json", "--continue-on-failure"),
        *("--max-examples", str(examples), "--report-json-path", str(report)),
        *(option for header in headers for option in ("--header", header)),
    ]
    environ = {"PYTHONPATH": str(ROOT), "SCHEMATHESIS_HOOKS": "tests.contract.hooks"}
    done = subprocess.run(
        command, cwd=folder, env={**os.environ, **environ}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout[-20_000:] + done.stderr[-2_000:]
    result: dict[str, Any] = json.loads(report.read_text())
    assert result["operations"]["tested"] == result["operations"]["total"]
    return result
