"""The supervisor of worker processes that share one listening socket.

uvicorn's own supervisor checks for signals only twice a second, waits for its children without a
time limit, and its arguments differ between versions.
"""

import logging
import os
import shutil
import signal
import socket
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.connection import wait
from types import FrameType
from typing import Final

from backend.server.reloading import on_reload
from backend.server.worker_process import CONFIG_ERROR, HEARTBEAT_INTERVAL, Work, Worker
from backend.telemetry.metrics import FOLDER

log = logging.getLogger("prism.workers")

SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)

_KILL_AFTER: Final = 7.9  # seconds after the signal; workers that still run are killed


@dataclass(frozen=True, slots=True)
class RestartPolicy:
    """When a worker is replaced.

    Silence is counted in checks and not in seconds: it then excludes the time in which the
    supervisor, the container or the machine was suspended, or too loaded to run either process.
    """

    check_interval: float = HEARTBEAT_INTERVAL  # seconds
    silent_checks: int = 8  # without heartbeats of a ready worker, or with a suspended one
    silent_start_checks: int = 120  # without heartbeats of a worker that starts or loads models
    delay: float = 1.0  # seconds from the first failed start to the next, doubled each time
    max_delay: float = 30.0
    max_delay_alone: float = 2.0  # while no other worker runs
    failed_starts: int = 5  # of each worker, without any that became ready: the service ends


@dataclass(frozen=True, slots=True)
class ScheduledStart:
    """A worker to start at `time`, after `failed_starts` failures."""

    time: float
    failed_starts: int = 0


class WorkerSupervisor:
    """Runs `work(listener, pipe)` in `count` processes until a signal arrives.

    Workers that end or send no heartbeats are replaced: at once if they had become ready, else with
    exponential delay. With `reap_orphans`, which the first process of a container needs, it also
    reaps ended processes whose parents have died.
    """

    def __init__(
        self,
        work: Work,
        count: int,
        listener: socket.socket,
        policy: RestartPolicy = RestartPolicy(),
        *,
        reap_orphans: bool = False,
    ) -> None:
        self._work = work
        self._listener = listener
        self._policy = policy
        self._reap_orphans = reap_orphans
        self._workers: list[Worker] = []
        self._starts = [ScheduledStart(0.0)] * count
        self._next_check = 0.0
        self._signals: list[int] = []
        self._must_reload = False
        self._kill_time: float | None = None  # set once the workers are stopping
        self._was_ready = False  # whether any worker has become ready
        self._has_failed = False

    def run(self) -> int | None:
        """Serve until a signal; return its number, or None if no worker can be started."""
        with (
            _wakeup_socket(self._on_signal) as wakeup,
            on_reload(self._request_reload),
            _metrics_folder(),
        ):
            try:
                while self._kill_time is None or self._workers:
                    self._start_missing()
                    sentinels = [worker.process.sentinel for worker in self._workers]
                    wait([*sentinels, wakeup], self._wait_timeout())
                    with suppress(BlockingIOError):
                        wakeup.recv(100)
                    self._handle_signals()
                    self._reap()
                    self._check_heartbeats()
            finally:
                self._kill()
        return None if self._has_failed else self._signals[0]

    def _start_missing(self) -> None:
        if self._kill_time is not None:
            return
        now = time.monotonic()
        for start in [one for one in self._starts if one.time <= now]:
            self._starts.remove(start)
            try:
                self._workers.append(Worker(self._work, self._listener, start.failed_starts))
            except OSError as error:  # no memory, processes or file descriptors
                reason = f"a worker was not created ({error.strerror})"
                self._on_failed_start(start.failed_starts + 1, reason)

    def _reap(self) -> None:
        """Remove the workers that ended and schedule their replacements."""
        for worker in [one for one in self._workers if not one.process.is_alive()]:
            self._workers.remove(worker)
            worker.read_heartbeats()
            self._was_ready |= worker.is_ready
            ending = worker.close()
            if self._kill_time is not None:
                continue
            if worker.is_ready:
                log.warning("worker %s died (%s): starting a replacement", worker.pid, ending)
                self._starts.append(ScheduledStart(worker.started_at + self._policy.delay))
            elif worker.process.exitcode == CONFIG_ERROR and not self._was_ready:
                self._give_up("a worker failed to start")
            else:
                reason = f"worker {worker.pid} ended before it was ready ({ending})"
                self._on_failed_start(worker.failed_starts + 1, reason)
        if self._reap_orphans:
            _reap_orphans({worker.pid for worker in self._workers})

    def _on_failed_start(self, failed_starts: int, reason: str) -> None:
        policy = self._policy
        max_delay = policy.max_delay if self._workers else policy.max_delay_alone
        delay = min(max_delay, policy.delay * 2 ** (failed_starts - 1))
        log.error("%s: starting a replacement in %g s", reason, delay)
        self._starts.append(ScheduledStart(time.monotonic() + delay, failed_starts))
        counts = [start.failed_starts for start in self._starts]
        counts += [worker.failed_starts for worker in self._workers]
        if not self._was_ready and min(counts) >= policy.failed_starts:
            self._give_up(f"no worker became ready in {policy.failed_starts} attempts")

    def _give_up(self, reason: str) -> None:
        log.error("%s; see the log lines above", reason)
        self._has_failed = True
        self._stop(signal.SIGTERM)

    def _check_heartbeats(self) -> None:
        now = time.monotonic()
        if self._kill_time is not None or now < self._next_check:
            return
        policy = self._policy
        self._next_check = now + policy.check_interval
        for worker in self._workers:
            worker.check()
            self._was_ready |= worker.is_ready
            limit = policy.silent_checks if worker.is_ready else policy.silent_start_checks
            is_silent = worker.silent_checks >= limit
            is_suspended = worker.suspended_checks >= policy.silent_checks
            if (is_silent or is_suspended) and not worker.is_killed:
                reason = "is suspended" if worker.suspended_checks else "does not respond"
                log.error("worker %s %s: killing it", worker.pid, reason)
                worker.kill()

    def _on_signal(self, sig: int, _: FrameType | None) -> None:
        self._signals.append(sig)

    def _request_reload(self) -> None:
        self._must_reload = True

    def _handle_signals(self) -> None:
        if self._must_reload:
            self._must_reload = False
            for worker in self._workers:
                worker.reload()
        if self._kill_time is None:
            if self._signals:
                self._stop(self._signals[0])
        elif len(self._signals) > 1 or time.monotonic() >= self._kill_time:
            self._kill()

    def _stop(self, sig: int) -> None:
        self._kill_time = time.monotonic() + _KILL_AFTER
        self._listener.close()  # the workers hold it too; it closes with the last of them
        for worker in self._workers:
            worker.stop(sig)

    def _kill(self) -> None:
        for worker in self._workers:
            worker.kill()

    def _wait_timeout(self) -> float:
        """Return the seconds until the next start, check or kill."""
        if self._kill_time is not None:
            moments = [self._kill_time]
        else:
            moments = [self._next_check, *(start.time for start in self._starts)]
        return max(0.0, min(moments) - time.monotonic())


def _reap_orphans(worker_pids: set[int]) -> None:
    """Reap ended processes that are no workers."""
    if not hasattr(os, "waitid"):  # macOS before Python 3.13
        return
    with suppress(ChildProcessError):
        while ended := os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT):
            if ended.si_pid in worker_pids:
                return  # `is_alive` reaps it next
            os.waitpid(ended.si_pid, os.WNOHANG)


@contextmanager
def _wakeup_socket(handler: Callable[[int, FrameType | None], None]) -> Iterator[socket.socket]:
    """Yield a socket that becomes readable on a signal, which alone does not interrupt a wait."""
    receiver, sender = socket.socketpair()
    with receiver, sender:
        receiver.setblocking(False)
        sender.setblocking(False)
        previous_handlers = {sig: signal.signal(sig, handler) for sig in SIGNALS}
        previous_fd = signal.set_wakeup_fd(sender.fileno(), warn_on_full_buffer=False)
        try:
            yield receiver
        finally:
            signal.set_wakeup_fd(previous_fd)
            for sig, previous in previous_handlers.items():
                signal.signal(sig, previous)


@contextmanager
def _metrics_folder() -> Iterator[None]:
    """Create the folder in which the workers' metrics are summed, unless the operator set one."""
    if FOLDER in os.environ:
        yield
        return
    folder = tempfile.mkdtemp(prefix="prism-metrics-")
    os.environ[FOLDER] = folder
    try:
        yield
    finally:
        del os.environ[FOLDER]
        shutil.rmtree(folder, ignore_errors=True)
