"""Services that do not do as they are told."""

import sys
import time

from tests.e2e.terminal import CTRL_C, Terminal

STUBBORN = "import signal, time; signal.signal(15, signal.SIG_IGN); print('up'); time.sleep(600)"
RUN = f"""
import multiprocessing, shlex, sys
from deploy.runner import Services
multiprocessing.set_start_method("fork")
services = Services(lambda running: running.say("all started"), stop_within=0.5)
services.add_process("stubborn", "exec " + shlex.join([sys.executable, "-uc", {STUBBORN!r}]))
services.run()
"""


def test_a_service_that_ignores_the_request_to_stop_is_killed() -> None:
    with Terminal(sys.executable, "-c", RUN) as terminal:
        terminal.read_until("all started")
        terminal.read_until("up")
        terminal.press(CTRL_C)
        pressed = time.monotonic()
        assert terminal.read_to_the_end() == 0
        assert time.monotonic() - pressed < 5
        assert "Traceback" not in terminal.text
