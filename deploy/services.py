"""The services of a local run: ports, commands, and a message when both are ready."""

from __future__ import annotations

import argparse
import multiprocessing
import os
import shlex
import socket
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path

from deploy.runner import Services

ROOT = Path(__file__).resolve().parents[1]
HOST = "127.0.0.1"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run until stopped; return 0 after a requested stop, 1 if a service failed."""
    ports = _parse(arguments)
    variables = {"BACKEND_PORT": ports.backend_port, "FRONTEND_PORT": ports.frontend_port}
    if problem := port_problem(variables):
        print(problem, file=sys.stderr)
        return 1

    multiprocessing.set_start_method("fork")  # honcho's wrappers then keep our signal handlers
    backend, frontend = (f"http://localhost:{p}" for p in (ports.backend_port, ports.frontend_port))
    services = Services(lambda running: _announce(running, backend, frontend))
    common = {**os.environ, "PYTHONUNBUFFERED": "1"}
    # A person reads the log although it goes through a pipe. Only this machine has access.
    defaults = {
        "PRISM_LOG_FORMAT": "text",
        "PRISM_HISTORY_OPEN": "true",
        "PRISM_HISTORY_IMAGES": "true",
    }
    if "PRISM_HOST" not in os.environ:
        defaults["PRISM_MODELS_OPEN"] = "true"
    environ = {**defaults, **common, "PORT": str(ports.backend_port)}
    services.add_process("backend", _command("-m", "backend"), env=environ, cwd=ROOT)
    command = _command(
        *("-m", "streamlit", "run", "frontend/app.py", "--server.headless=true"),
        *(f"--server.address={HOST}", f"--server.port={ports.frontend_port}"),
    )
    environ = {"PRISM_LOG_FORMAT": "text", **common, "BACKEND": backend}
    services.add_process("frontend", command, env=environ, cwd=ROOT)
    services.run()
    if services.exited_service:
        reason = f"because the {services.exited_service} exited"
        print(f"Prism has stopped {reason}. Its last log lines are above.", file=sys.stderr)
        return 1
    return 0


def port_problem(ports: dict[str, int]) -> str | None:
    """Return one line that explains why a port of `ports` (variable -> port) cannot be used."""
    if len(set(ports.values())) < len(ports):
        return f"{' and '.join(ports)} are the same port; choose two different ports."
    for variable, port in ports.items():
        if reason := _port_conflict(port):
            return f"Port {port} {reason}. Choose another one: make run {variable}={free_port()}"
    return None


def _port_conflict(port: int) -> str | None:
    try:
        # bind() does not detect a server that listens on IPv6 only or on all interfaces.
        with socket.create_connection(("localhost", port), timeout=1):
            return "is used by another program"
    except OSError:
        pass
    with socket.socket() as trial:
        trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            trial.bind((HOST, port))
        except PermissionError:
            return "is not allowed for this account"
        except OSError:
            return "is used by another program"
    return None


def free_port() -> int:
    """Return an unused port of this machine."""
    with socket.socket() as trial:
        trial.bind((HOST, 0))
        port: int = trial.getsockname()[1]
        return port


def _announce(services: Services, backend: str, frontend: str) -> None:
    """Wait until both are ready, then print their addresses."""
    waiting = [f"{backend}/ready", f"{frontend}/_stcore/health"]
    while waiting and not services.stopping:
        waiting = [address for address in waiting if not responds(address)]
        time.sleep(0.1)
    if not services.stopping:
        services.print_line(f"Prism is ready: open {frontend} in a browser")
        services.print_line(f"Backend: {backend} (API reference: {backend}/docs)")
        services.print_line("Press Ctrl-C to stop both")


def responds(address: str) -> bool:
    """Return whether a request to `address` on this machine succeeds."""
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with direct.open(address, timeout=2):
            return True
    except (urllib.error.URLError, OSError):
        return False


def _command(*arguments: str) -> str:
    # With `exec`, signals to the process group reach the service and not a shell
    return "exec " + shlex.join([sys.executable, *arguments])


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser("deploy.local", usage=argparse.SUPPRESS)
    parser.add_argument("--backend-port", type=_port, default=8000)
    parser.add_argument("--frontend-port", type=_port, default=8501)
    return parser.parse_args(arguments)


def _port(text: str) -> int:
    port = int(text) if text.isdecimal() else 0
    if not 0 < port < 65536:
        raise argparse.ArgumentTypeError(f"{text!r} is not a port (1 to 65535)")
    return port
