"""Every query of the dashboard returns data in a Prometheus that scrapes a running backend."""

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from client import BackendError, Client
from tests.conftest import ROOT, free_port
from tests.deploy.queries import alerts, panels
from tests.e2e.backend_process import BackendProcess
from tests.images import encoded, seven

JOB = "prism-backend"
MODEL = "mnist-mlp"
IMAGES = 1100  # the reference of the drift tests and the recent images
BATCH = 100
SEVEN = encoded(seven())


def program(name: str) -> str:
    """Return the path of a program of Prometheus; skip, or fail in CI, if it is not installed."""
    path = shutil.which(name)
    if path is None:
        message = f"{name} is not installed (Debian, Ubuntu: apt install prometheus)"
        if os.environ.get("CI") == "true":
            pytest.fail(message)
        pytest.skip(message)
    return path


@contextmanager
def run_prometheus(backend: str, folder: Path) -> Iterator[httpx.Client]:
    """Run Prometheus with the configuration of the compose profile; yield a client of it."""
    executable = program("prometheus")
    config = yaml.safe_load((ROOT / "deploy" / "monitoring" / "prometheus.yml").read_text())
    config["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    config["rule_files"] = [str(ROOT / "deploy" / "prometheus_alerts.yaml")]
    config["scrape_configs"][0]["static_configs"][0]["targets"] = [backend]
    file, address = folder / "prometheus.yml", f"127.0.0.1:{free_port()}"
    file.write_text(yaml.safe_dump(config))
    with (folder / "prometheus.log").open("wb") as log:
        process = subprocess.Popen(
            [executable, f"--config.file={file}", f"--storage.tsdb.path={folder / 'data'}",
             f"--web.listen-address={address}"],
            stderr=log,
        )  # fmt: skip
    try:
        with httpx.Client(base_url=f"http://{address}/api/v1", trust_env=False) as client:
            yield client
    finally:
        process.kill()
        process.wait()


def query(prometheus: httpx.Client, expression: str) -> list[Any]:
    """Return the series of an instant query; none while Prometheus starts."""
    with suppress(httpx.TransportError):
        answer = prometheus.get("/query", params={"query": expression}).json()
        assert answer["status"] == "success", answer
        found: list[Any] = answer["data"]["result"]
        return found
    return []


def send_one_of_each_kind(client: Client) -> None:
    """Send an image, a file that is not an image, and a request that exceeds its deadline."""
    client.classify(SEVEN, filename="seven.png", model=MODEL)
    for name in ("notes.txt", "late.png"):
        with suppress(BackendError):
            client.classify(b"no image", filename=name, model=MODEL)


def test_every_query_returns_data(tmp_path: Path) -> None:
    expressions = [each for panel in panels(job=JOB, interval="20s").values() for each in panel]
    settings = {"PRISM_MODELS": MODEL, "PRISM_DATA_DIR": str(tmp_path), "PRISM_TIMEOUT": "60",
                "PRISM_HISTORY_OPEN": "true"}  # fmt: skip
    with BackendProcess(None, **settings) as backend:
        backend.wait_until_ready()
        client = Client(backend.url)
        files = [(f"{number}.png", SEVEN) for number in range(BATCH)]
        for _ in range(IMAGES // BATCH):
            list(client.classify_batch(files, model=MODEL))
        # The first scrape tests the drift, and the next test may be minutes later.
        while any(one.evidence is None for one in client.history.drift(MODEL).statistics[:2]):
            time.sleep(0.5)
        with run_prometheus(f"127.0.0.1:{backend.port}", tmp_path) as prometheus:
            missing, until = expressions, time.monotonic() + 150
            while missing and time.monotonic() < until:
                send_one_of_each_kind(client)
                time.sleep(0.5)
                missing = [each for each in missing if not query(prometheus, each)]
            assert missing == []
            rules = prometheus.get("/rules").json()["data"]["groups"]
            health = {rule["name"]: rule["health"] for group in rules for rule in group["rules"]}
            assert health == dict.fromkeys(alerts(), "ok")


def test_every_alert_is_raised_as_rehearsed() -> None:
    command = [program("promtool"), "test", "rules", "tests/deploy/alerts_test.yaml"]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
