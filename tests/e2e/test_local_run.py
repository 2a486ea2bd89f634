"""`make run` in a terminal: addresses, logs, and every way to stop it."""

import os
import re
import signal
import socket
import sys
import time
from collections.abc import Callable

import httpx
import pytest

from tests.conftest import free_port
from tests.e2e.terminal import CTRL_C, Terminal

READY = "Press Ctrl-C to stop both"


class Run(Terminal):
    """`python -m deploy.local` on two free ports."""

    def __init__(self, **environ: str) -> None:
        self.backend_port, self.frontend_port = free_port(), free_port()
        super().__init__(
            *(sys.executable, "-m", "deploy.local"),
            *("--backend-port", str(self.backend_port)),
            *("--frontend-port", str(self.frontend_port)),
            **environ,
        )

    def assert_stopped(self) -> None:
        """Check that both ports are closed and all started processes have exited."""
        for port in (self.backend_port, self.frontend_port):
            with pytest.raises(ConnectionRefusedError):
                socket.create_connection(("127.0.0.1", port), timeout=2)
        started = re.findall(r"started \(pid=(\d+)\)", self.text)
        assert started
        for pid in map(int, started):
            with pytest.raises(ProcessLookupError):
                os.kill(pid, 0)


def start_until(text: str) -> Run:
    """Start a run and read its output until `text`."""
    run = Run()
    try:
        run.read_until(text)
    except BaseException:
        run.__exit__(None, None, None)
        raise
    return run


def test_both_services_are_ready_and_ctrl_c_stops_them_within_five_seconds() -> None:
    with start_until(READY) as run:
        backend, frontend = (
            f"http://localhost:{port}" for port in (run.backend_port, run.frontend_port)
        )
        assert f"open {frontend} in a browser" in run.text
        assert f"Backend: {backend}" in run.text
        assert httpx.get(f"{backend}/ready").status_code == 200
        assert httpx.get(f"{backend}/history/storage").json()["images"] is True
        assert "<html" in httpx.get(frontend).text
        assert re.search(r"backend +\|", run.text), "log lines name their service"
        assert re.search(r"frontend +\|", run.text)
        assert re.search(r"backend +\|\S* \S*INFO: ", run.text), "logs are text in a terminal"

        start = time.monotonic()
        run.press(CTRL_C)
        status = run.wait_for_exit()
        assert time.monotonic() - start < 5
        assert status == 0
        assert "Traceback" not in run.text
        run.assert_stopped()


@pytest.mark.parametrize("moment", ["backend started", "You can now view"])
def test_ctrl_c_during_startup_stops_both(moment: str) -> None:
    with start_until(moment) as run:
        run.press(CTRL_C)
        run.press(CTRL_C)
        assert run.wait_for_exit() == 0
        assert "Traceback" not in run.text
        run.assert_stopped()


def signal_parent_only(number: signal.Signals) -> Callable[[Run], None]:
    """Return a function that sends a signal to the parent process only."""
    return lambda run: run.process.send_signal(number)


@pytest.mark.parametrize(
    "stop",
    [
        pytest.param(signal_parent_only(signal.SIGTERM), id="SIGTERM"),
        pytest.param(signal_parent_only(signal.SIGINT), id="SIGINT"),
        pytest.param(Terminal.close, id="closed terminal"),
    ],
)
def test_other_ways_to_stop_leave_no_process(stop: Callable[[Run], None]) -> None:
    with start_until("You can now view") as run:
        stop(run)
        assert run.process.wait(timeout=10) == 0
        run.assert_stopped()


def test_exit_of_one_service_stops_the_other_with_a_message() -> None:
    with Run(PRISM_TIMEOUT="-1") as run:
        assert run.wait_for_exit() == 1
        assert "because the backend exited" in run.text
        assert "Traceback" not in run.text
        run.assert_stopped()


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0"])
def test_used_port_is_reported_in_one_line_with_a_suggestion(host: str) -> None:
    with socket.socket() as other:
        other.bind((host, 0))
        other.listen()
        port = other.getsockname()[1]
        command = (sys.executable, "-m", "deploy.local", "--frontend-port", str(port))
        with Terminal(*command, "--backend-port", str(free_port())) as run:
            assert run.wait_for_exit() == 1
    (line,) = run.text.splitlines()
    assert f"Port {port} is used" in line
    assert "make run FRONTEND_PORT=" in line


def test_same_port_for_both_services_is_reported_in_one_line() -> None:
    port = str(free_port())
    command = ("-m", "deploy.local", "--frontend-port", port, "--backend-port", port)
    with Terminal(sys.executable, *command) as run:
        assert run.wait_for_exit() == 1
    (line,) = run.text.splitlines()
    assert "the same port" in line
