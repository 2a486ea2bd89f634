"""Start, readiness check and stop of one server under test."""

import contextlib
import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.serving.assets import CACHE, LOGS
from benchmarks.serving.http_client import upload_request
from benchmarks.serving.machine import session_processes, start_times
from benchmarks.serving.systems import System

_START_TIMEOUT = 120.0  # seconds until the first response
_PLAN_TIMEOUT = 60.0  # seconds until Prism has measured its plan
_STOP_TIMEOUT = 10.0  # seconds


Process = subprocess.Popen[bytes]


class ServerError(Exception):
    """A server did not start or ended unexpectedly; the message names its log."""


@dataclass(frozen=True)
class Server:
    """A running server."""

    system: System
    pid: int
    port: int
    startup: float  # seconds from its start to the first response with status 200


@contextlib.contextmanager
def serve(system: System, model: Path, image: Path, cpus: Sequence[int] = ()) -> Iterator[Server]:
    """Run `system` with a model folder on the cores `cpus` (default: all).

    The server is ready when it has classified `image`; Prism, when it also has its plan.
    Raise ServerError if the server does not start or ends unexpectedly.
    """
    port = _free_port()
    LOGS.mkdir(parents=True, exist_ok=True)
    log = LOGS / f"{system.name}-{model.name}.log"
    environment = os.environ | system.environment(model, port)
    environment.pop("PYTHONDONTWRITEBYTECODE", None)  # cold starts are measured with bytecode
    with log.open("wb") as output, _pinned(cpus):
        begin = time.perf_counter()
        process = subprocess.Popen(
            system.command_line(port),
            cwd=system.root,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    try:
        _wait_for_response(process, port, upload_request(system.path, image, system.protocol), log)
        startup = time.perf_counter() - begin
        if system.runtime == "prism":
            _wait_for_plan(port, model.name)
        yield Server(system, process.pid, port, startup)
        if process.poll() is not None:
            raise ServerError(f"{system.name} ended unexpectedly: {log}")
    finally:
        _stop(process)


def delete_prism_data() -> None:
    """Delete the plans and other data of previous runs of Prism."""
    shutil.rmtree(CACHE / "data", ignore_errors=True)


def _wait_for_response(process: Process, port: int, request: bytes, log: Path) -> None:
    end = time.perf_counter() + _START_TIMEOUT
    while time.perf_counter() < end:
        if process.poll() is not None:
            raise ServerError(f"{log.stem} did not start: {log}")
        try:
            if _status(port, request) == 200:
                return
        except OSError:
            pass
        time.sleep(0.003)
    reason = f"did not respond with status 200 within {_START_TIMEOUT:.0f} s"
    raise ServerError(f"{log.stem} {reason}: {log}")


def _status(port: int, request: bytes) -> int:
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
        connection.sendall(request)
        line = connection.recv(12)
        return int(line[9:12]) if len(line) == 12 else 0


def _wait_for_plan(port: int, model: str) -> None:
    """Wait until Prism has measured the plan of the model."""
    end = time.perf_counter() + _PLAN_TIMEOUT
    while time.perf_counter() < end:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        with contextlib.closing(connection):
            connection.request("GET", f"/models/{model}")
            description = json.loads(connection.getresponse().read())
        plan = description.get("plan", {"measured": True})
        if plan and plan["measured"]:
            return
        time.sleep(0.2)


@contextlib.contextmanager
def _pinned(cpus: Sequence[int]) -> Iterator[None]:
    """Restrict this process to `cpus`; processes started meanwhile inherit them."""
    if not cpus or not hasattr(os, "sched_setaffinity"):
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cpus)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def _stop(process: Process) -> None:
    """Stop the process, the rest of its session, and its descendants in other sessions."""
    started = start_times(session_processes(process.pid))
    process.terminate()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(_STOP_TIMEOUT)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)  # leader of its session
    process.wait()
    for pid, moment in start_times(started).items():
        if started[pid] == moment:  # otherwise the id belongs to another process by now
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
