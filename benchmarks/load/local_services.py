"""Starts a backend and a frontend for a load test: free ports, an empty data folder, warmed up."""

import json
import os
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from client.url import is_loopback
from deploy import credentials
from deploy.services import free_port, responds

ROOT = Path(__file__).resolve().parents[2]
START_TIMEOUT = 120.0  # s, including the backend's autotuning
_STOP_TIMEOUT = 20.0  # s


class ServiceError(Exception):
    """A service did not start; the message ends with its last log lines."""


@dataclass(frozen=True)
class Service:
    """A running service at `url`."""

    url: str
    process: "subprocess.Popen[bytes]"

    @property
    def port(self) -> int:
        """The port that the service listens on."""
        return int(self.url.rpartition(":")[2])

    def usage(self) -> "ResourceUsage | None":
        """Return the usage of the service and its workers, or None if not on Linux."""
        pid = self.process.pid
        try:
            workers = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
            usages = [_read_usage(process) for process in (pid, *map(int, workers))]
        except (OSError, ValueError):
            return None
        return ResourceUsage(*map(sum, zip(*usages, strict=True)))


class ResourceUsage(NamedTuple):
    """CPU seconds since the start; current and peak resident memory in MB."""

    cpu: float
    memory: float
    peak_memory: float


def _read_usage(pid: int) -> ResourceUsage:
    folder = Path(f"/proc/{pid}")
    fields = (folder / "stat").read_text().rpartition(")")[2].split()  # after the process name
    ticks = sum(map(int, fields[11:13]))  # user and system time
    lines = (folder / "status").read_text().splitlines()
    sizes = {name: value for name, _, value in (line.partition(":") for line in lines)}
    current, peak = (1024 * int(sizes[name].split()[0]) / 1e6 for name in ("VmRSS", "VmHWM"))
    return ResourceUsage(ticks / os.sysconf("SC_CLK_TCK"), current, peak)


@contextmanager
def start_backend(module: str = "backend", settings: Mapping[str, str] = {}) -> Iterator[Service]:
    """Run a backend with the `settings` and those in the environment, after its autotuning.

    Raise ServiceError if it ends or takes too long to start.
    """
    with tempfile.TemporaryDirectory(prefix="prism-load-") as folder:
        environ = {
            "PRISM_DATA_DIR": folder,
            "PRISM_HOST": "127.0.0.1",
            "PRISM_PRELOAD": "true",  # no model is loaded during the test
        }
        environ |= settings
        with _start(["-m", module], environ) as service:
            _wait_until_ready(service, "/ready")
            _wait_for_autotuning(service, {**os.environ, **environ})
            yield service


@contextmanager
def start_frontend(backend_url: str) -> Iterator[Service]:
    """Run a frontend for the backend at `backend_url`; raise ServiceError if it does not start."""
    port = free_port()
    command = ["-m", "streamlit", "run", "frontend/app.py", "--server.headless=true"]
    command += [f"--server.port={port}", "--server.address=127.0.0.1"]
    with _start(command, {"BACKEND": backend_url}, port) as service:
        _wait_until_ready(service, "/_stcore/health")
        yield service


def require_ready(url: str) -> None:
    """Raise ServiceError if the backend at `url` is not ready."""
    if not url.startswith(("http://", "https://")):
        raise ServiceError(f"{url!r} is not an address: it must begin with http:// or https://.")
    try:
        _get(f"{url.rstrip('/')}/ready")
    except (OSError, ValueError) as error:
        raise ServiceError(f"The backend at {url} is not ready: {error}") from error


@contextmanager
def _start(command: list[str], environ: dict[str, str], port: int = 0) -> Iterator[Service]:
    port = port or free_port()
    with tempfile.NamedTemporaryFile(prefix="prism-load-", suffix=".log") as log:
        process = subprocess.Popen(
            [sys.executable, *command],
            cwd=ROOT,
            env={**os.environ, **environ, "PORT": str(port)},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
        try:
            yield Service(f"http://127.0.0.1:{port}", process)
        except ServiceError as error:
            log_lines = Path(log.name).read_text(errors="replace").splitlines()
            raise ServiceError("\n".join([str(error), *log_lines[-5:]])) from None
        finally:
            process.terminate()
            try:
                process.wait(_STOP_TIMEOUT)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _wait_until_ready(service: Service, path: str) -> None:
    deadline = time.monotonic() + START_TIMEOUT
    while time.monotonic() < deadline:
        if service.process.poll() is not None:
            raise ServiceError(f"The service ended with status {service.process.returncode}:")
        if responds(service.url + path):
            return
        time.sleep(0.1)
    raise ServiceError(f"{service.url}{path} did not respond within {START_TIMEOUT:g} s:")


def _wait_for_autotuning(service: Service, environ: Mapping[str, str]) -> None:
    """Wait until the plan of each model is measured, so that it does not change during the test."""
    if environ.get("PRISM_MEASURE", "true").lower() in ("false", "0", "no", "off"):
        return
    deadline = time.monotonic() + START_TIMEOUT
    while time.monotonic() < deadline:
        models = json.loads(_get(f"{service.url}/models"))
        names = (model["name"] for model in models["models"])
        details = (json.loads(_get(f"{service.url}/models/{name}")) for name in names)
        plans = [detail["plan"] for detail in details if detail["state"] == "ready"]
        if all(plan is None or plan["measured"] for plan in plans):
            return
        time.sleep(0.2)


def _get(url: str) -> bytes:
    """Send an authenticated GET request; raise ValueError if `url` may not receive the token."""
    request = urllib.request.Request(url)  # noqa: S310
    for name, value in credentials.backend_headers(url).items():
        request.add_unredirected_header(name, value)
    proxies = [urllib.request.ProxyHandler({})] if is_loopback(url) else []
    with urllib.request.build_opener(*proxies).open(request, timeout=10) as response:
        content: bytes = response.read()
        return content
