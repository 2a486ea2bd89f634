"""One server under test: started, ready, measured, stopped by its own process id."""

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

from benchmarks.serving.http_client import upload
from benchmarks.serving.paths import CACHE, LOGS, ROOT
from benchmarks.serving.systems import Contender

_PATIENCE = 120.0  # seconds from the start to the first answer at most
_PLANNING = 60.0  # seconds that Prism's own measurement may take at most
_STOPPING = 10.0


class ServerError(Exception):
    """A server did not start, or ended by itself; the text names its log."""


@dataclass(frozen=True)
class Server:
    """A server that answers on `port`; `started` is the seconds from its start to a 200."""

    contender: Contender
    pid: int
    port: int
    started: float


@contextlib.contextmanager
def serve(
    contender: Contender, model: Path, picture: Path, cpus: Sequence[int] = ()
) -> Iterator[Server]:
    """Start `contender` with a model folder, on the cores `cpus` (default: all), and stop it.

    It is ready once it has classified `picture`, and once Prism has its plan. Raises ServerError.
    """
    port = _free_port()
    LOGS.mkdir(parents=True, exist_ok=True)
    log = LOGS / f"{contender.name}-{model.name}.log"
    environment = os.environ | contender.environment(model, port)
    environment.pop("PYTHONDONTWRITEBYTECODE", None)  # a start without bytecode is no start
    with log.open("wb") as output, _pinned(cpus):
        begin = time.perf_counter()
        process = subprocess.Popen(
            contender.arguments(port),
            cwd=ROOT,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    try:
        _wait_for_answer(process, port, upload(contender.path, picture), log)
        started = time.perf_counter() - begin
        if contender.runtime == "prism":
            _wait_for_plan(port, model.name)
        yield Server(contender, process.pid, port, started)
        if process.poll() is not None:
            raise ServerError(f"{contender.name} ended by itself: {log}")
    finally:
        _stop(process)


def forget() -> None:
    """Remove what Prism kept of earlier runs."""
    shutil.rmtree(CACHE / "data", ignore_errors=True)


def _wait_for_answer(
    process: "subprocess.Popen[bytes]", port: int, request: bytes, log: Path
) -> None:
    end = time.perf_counter() + _PATIENCE
    while time.perf_counter() < end:
        if process.poll() is not None:
            raise ServerError(f"{log.stem} did not start: {log}")
        try:
            if _status(port, request) == 200:
                return
        except OSError:
            pass
        time.sleep(0.003)
    raise ServerError(f"{log.stem} did not answer with 200 within {_PATIENCE:.0f} s: {log}")


def _status(port: int, request: bytes) -> int:
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
        connection.sendall(request)
        line = connection.recv(12)
        return int(line[9:12]) if len(line) == 12 else 0


def _wait_for_plan(port: int, model: str) -> None:
    """Until Prism has measured how to serve the model; a version that does not is ready at once."""
    end = time.perf_counter() + _PLANNING
    while time.perf_counter() < end:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        with contextlib.closing(connection):
            connection.request("GET", f"/models/{model}")
            told = json.loads(connection.getresponse().read())
        plan = told.get("plan", {"measured": True})
        if plan and plan["measured"]:
            return
        time.sleep(0.2)


@contextlib.contextmanager
def _pinned(cpus: Sequence[int]) -> Iterator[None]:
    """What is started meanwhile inherits the cores."""
    if not cpus or not hasattr(os, "sched_setaffinity"):
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cpus)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def _stop(process: "subprocess.Popen[bytes]") -> None:
    """End the process, and what it left of its session."""
    process.terminate()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(_STOPPING)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)  # its own session: it leads the group
    process.wait()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
