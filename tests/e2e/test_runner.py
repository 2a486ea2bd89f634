"""The process manager of `make run`."""

import sys
import time

from tests.e2e.terminal import CTRL_C, Terminal

UNRESPONSIVE = (
    "import signal, time; signal.signal(15, signal.SIG_IGN); print('up'); time.sleep(600)"
)
RUN = f"""
import multiprocessing, shlex, sys
from deploy.runner import Services
multiprocessing.set_start_method("fork")
services = Services(lambda running: running.print_line("all started"), stop_within=0.5)
services.add_process("test", "exec " + shlex.join([sys.executable, "-uc", {UNRESPONSIVE!r}]))
services.run()
"""


def test_service_that_ignores_sigterm_is_killed() -> None:
    with Terminal(sys.executable, "-c", RUN) as terminal:
        terminal.read_until("all started")
        terminal.read_until("up")
        terminal.press(CTRL_C)
        start = time.monotonic()
        assert terminal.wait_for_exit() == 0
        assert time.monotonic() - start < 5
        assert "Traceback" not in terminal.text
