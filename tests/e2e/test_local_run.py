"""What `make run` starts, in a terminal as a person sees it."""

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

READY = "Ctrl-C stops both"


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

    def assert_nothing_runs(self) -> None:
        """Fail where one of the two still listens, or one of the started processes lives."""
        for port in (self.backend_port, self.frontend_port):
            with pytest.raises(ConnectionRefusedError):
                socket.create_connection(("127.0.0.1", port), timeout=2)
        started = re.findall(r"started \(pid=(\d+)\)", self.text)
        assert started
        for pid in map(int, started):
            with pytest.raises(ProcessLookupError):
                os.kill(pid, 0)


def start_until(words: str) -> Run:
    """A run that has printed `words`."""
    run = Run()
    try:
        run.read_until(words)
    except BaseException:
        run.__exit__(None, None, None)
        raise
    return run


def test_both_answer_where_it_says_and_ctrl_c_stops_both_within_five_seconds() -> None:
    with start_until(READY) as run:
        backend, frontend = (
            f"http://localhost:{port}" for port in (run.backend_port, run.frontend_port)
        )
        assert f"open {frontend} in a browser" in run.text
        assert f"backend answers at {backend}" in run.text
        assert httpx.get(f"{backend}/ready").status_code == 200
        assert "<html" in httpx.get(frontend).text
        assert re.search(r"backend +\|", run.text), "the logs name who speaks"
        assert re.search(r"frontend +\|", run.text)
        assert re.search(r"backend +\|\S* \S*INFO: ", run.text), "a person reads along"

        pressed = time.monotonic()
        run.press(CTRL_C)
        status = run.read_to_the_end()
        assert time.monotonic() - pressed < 5
        assert status == 0
        assert "Traceback" not in run.text
        run.assert_nothing_runs()


@pytest.mark.parametrize("moment", ["backend started", "Uvicorn server started"])
def test_ctrl_c_during_start_up_stops_both(moment: str) -> None:
    with start_until(moment) as run:
        run.press(CTRL_C)
        run.press(CTRL_C)
        assert run.read_to_the_end() == 0
        assert "Traceback" not in run.text
        run.assert_nothing_runs()


def ask_the_parent_alone(number: signal.Signals) -> Callable[[Run], None]:
    """How to send a signal that does not reach the services by itself."""
    return lambda run: run.process.send_signal(number)


@pytest.mark.parametrize(
    "ask",
    [
        pytest.param(ask_the_parent_alone(signal.SIGTERM), id="SIGTERM"),
        pytest.param(ask_the_parent_alone(signal.SIGINT), id="SIGINT"),
        pytest.param(Terminal.close, id="the window is closed"),
    ],
)
def test_other_ways_to_stop_leave_nothing_running(ask: Callable[[Run], None]) -> None:
    with start_until("Uvicorn server started") as run:
        ask(run)
        assert run.process.wait(timeout=10) == 0
        run.assert_nothing_runs()


def test_when_one_ends_by_itself_the_other_is_stopped_and_a_line_says_so() -> None:
    with Run(PRISM_TIMEOUT="-1") as run:
        assert run.read_to_the_end() == 1
        assert "the backend ended by itself" in run.text
        assert "Traceback" not in run.text
        run.assert_nothing_runs()


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0"])
def test_a_taken_port_is_one_line_that_says_what_to_do(host: str) -> None:
    with socket.socket() as other:
        other.bind((host, 0))
        other.listen()
        port = other.getsockname()[1]
        command = (sys.executable, "-m", "deploy.local", "--frontend-port", str(port))
        with Terminal(*command, "--backend-port", str(free_port())) as run:
            assert run.read_to_the_end() == 1
    (line,) = run.text.splitlines()
    assert f"Port {port} is taken" in line
    assert "make run FRONTEND_PORT=" in line


def test_the_same_port_for_both_is_one_line() -> None:
    port = str(free_port())
    command = ("-m", "deploy.local", "--frontend-port", port, "--backend-port", port)
    with Terminal(sys.executable, *command) as run:
        assert run.read_to_the_end() == 1
    (line,) = run.text.splitlines()
    assert "the same port" in line
