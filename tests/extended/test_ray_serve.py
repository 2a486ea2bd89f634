"""The backend on Ray Serve: it answers, and its own queue is the only one that refuses images."""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.conftest import ROOT, free_port

REQUESTS = 240


def test_queue_of_the_backend_is_the_only_bounded_one(tmp_path: Path) -> None:
    environment = tmp_path / "environment"
    subprocess.run([sys.executable, "-m", "venv", environment], check=True)
    python = environment / "bin" / "python"
    packages = ["-r", "requirements/serving.txt", "-r", "requirements/peer-ray.txt"]
    subprocess.run([python, "-m", "pip", "install", "--quiet", *packages], cwd=ROOT, check=True)
    with tempfile.TemporaryDirectory(prefix="ray") as folder:  # short: it contains sockets
        script = "tests/extended/ray_serve_load.py"
        command = [str(python), script, str(free_port()), folder]
        result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    found = json.loads(result.stdout.splitlines()[-1])
    assert found["idle"] == [200, "7"]
    counts = {(status, text): count for status, text, count in found["busy"]}
    assert sum(counts.values()) == REQUESTS
    refused = {outcome: count for outcome, count in counts.items() if outcome[0] != 200}
    assert set(refused) <= {(429, "queue_full"), (429, "too_slow")}, "Ray refuses with 503"
    assert sum(refused.values()) == found["shed"] > 0
