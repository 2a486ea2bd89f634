"""A backend and a page of a load test's own: free ports, an empty data folder, warm."""

import json
import os
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from client.url import is_loopback
from deploy import credentials
from deploy.services import responds, free_port

ROOT = Path(__file__).resolve().parents[2]
STARTING = 120.0  # seconds at most, until the backend has measured how to serve, too
_STOPPING = 20.0


class StackError(Exception):
    """A service did not start; the text has its last words."""


@dataclass(frozen=True)
class Service:
    """A service that responds at `url`."""

    url: str
    process: "subprocess.Popen[bytes]"

    @property
    def port(self) -> int:
        """The port it listens on."""
        return int(self.url.rpartition(":")[2])

    def used(self) -> "Used | None":
        """What it and its workers have used by now; None where not on Linux."""
        first = self.process.pid
        try:
            tasks = Path(f"/proc/{first}/task/{first}/children").read_text().split()
            found = [_used(pid) for pid in (first, *map(int, tasks))]
        except (OSError, ValueError):
            return None
        return Used(*map(sum, zip(*found, strict=True)))


class Used(NamedTuple):
    """Seconds of CPU since the start; resident memory in MB, now and at most since the start."""

    cpu: float
    memory: float
    most_memory: float


def _used(pid: int) -> Used:
    folder = Path(f"/proc/{pid}")
    _, _, rest = (folder / "stat").read_text().rpartition(")")  # the name may hold anything
    ticks = sum(map(int, rest.split()[11:13]))  # in user mode, and in the system for it
    lines = (folder / "status").read_text().splitlines()
    sizes = {name: value for name, _, value in (line.partition(":") for line in lines)}
    now, most = (1024 * int(sizes[name].split()[0]) / 1e6 for name in ("VmRSS", "VmHWM"))
    return Used(ticks / os.sysconf("SC_CLK_TCK"), now, most)


@contextmanager
def backend() -> Iterator[Service]:
    """A backend with the settings of the environment that has planned how to serve its model.

    Raises StackError where it ends or takes too long.
    """
    with tempfile.TemporaryDirectory(prefix="prism-load-") as folder:
        environ = {"PRISM_DATA_DIR": folder, "PRISM_HOST": "127.0.0.1"}
        with _started(["-m", "backend"], environ) as service:
            _wait(service, "/ready")
            _wait_for_plans(service)
            yield service


@contextmanager
def frontend(backend_url: str) -> Iterator[Service]:
    """A page in front of the backend at `backend_url`. Raises StackError as `backend` does."""
    port = free_port()
    command = ["-m", "streamlit", "run", "frontend/app.py", "--server.headless=true"]
    command += [f"--server.port={port}", "--server.address=127.0.0.1"]
    with _started(command, {"BACKEND": backend_url}, port) as service:
        _wait(service, "/_stcore/health")
        yield service


def reach(url: str) -> None:
    """Raises StackError where nothing at `url` says that it is ready."""
    if not url.startswith(("http://", "https://")):
        raise StackError(f"{url!r} is no address: it begins with http:// or https://.")
    try:
        _get(f"{url.rstrip('/')}/ready")
    except (OSError, ValueError) as error:
        raise StackError(f"Nothing is ready at {url}: {error}") from error


@contextmanager
def _started(command: list[str], environ: dict[str, str], port: int = 0) -> Iterator[Service]:
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
        except StackError as error:
            last = Path(log.name).read_text(errors="replace").splitlines()[-5:]
            raise StackError("\n".join([str(error), *last])) from None
        finally:
            process.terminate()
            try:
                process.wait(_STOPPING)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _wait(service: Service, path: str) -> None:
    end = time.monotonic() + STARTING
    while time.monotonic() < end:
        if service.process.poll() is not None:
            raise StackError(f"It ended by itself with {service.process.returncode}:")
        if responds(service.url + path):
            return
        time.sleep(0.1)
    raise StackError(f"{service.url}{path} did not answer within {STARTING:g} s:")


def _wait_for_plans(service: Service) -> None:
    """Until it is measured how to serve each model: figures would be of two minds else."""
    if os.environ.get("PRISM_MEASURE", "true").lower() in ("false", "0", "no", "off"):
        return
    end = time.monotonic() + STARTING
    while time.monotonic() < end:
        listed = json.loads(_get(f"{service.url}/models"))
        cards = (
            json.loads(_get(f"{service.url}/models/{one['name']}")) for one in listed["models"]
        )
        plans = [card["plan"] for card in cards if card["state"] == "ready"]
        if all(plan is None or plan["measured"] for plan in plans):
            return
        time.sleep(0.2)


def _get(url: str) -> bytes:
    """Ask as the load test does; ValueError for a token that may not be shown to `url`."""
    request = urllib.request.Request(url)  # noqa: S310
    for name, value in credentials.backend_headers(url).items():
        request.add_unredirected_header(name, value)
    proxies = [urllib.request.ProxyHandler({})] if is_loopback(url) else []
    with urllib.request.build_opener(*proxies).open(request, timeout=10) as answer:
        found: bytes = answer.read()
        return found
